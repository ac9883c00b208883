"""Forms of state, to manifests and back."""

from __future__ import annotations

from streamlab.state.checkpoints.manifest import StoredColumn, StoredFact, StoredStep
from streamlab.state.forms import Fact, StateForm


def stored_step(
    form: StateForm, name: str, vertex: str, *, base: str, path: str, title: str, is_source: bool
) -> StoredStep:
    """Return a step's form of state, what it was called and what users saw, as a plain value."""
    return StoredStep(
        name,
        vertex,
        base,
        path,
        form.kind,
        is_source,
        tuple(StoredFact(fact.name, fact.value, fact.written) for fact in form.facts),
        {column: StoredColumn(shown.name, shown.is_time, shown.zone) for column, shown in form.columns.items()},
        title,
    )


def form_of(step: StoredStep) -> StateForm:
    """Return the form that a plain value stands for, without how it is shown."""
    return StateForm(step.kind, tuple(Fact(fact.name, fact.value, fact.written) for fact in step.facts))
