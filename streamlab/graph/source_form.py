"""What must be the same of a source that goes on from positions in a savepoint."""

from __future__ import annotations

from streamlab.connectors.contracts.source import Source
from streamlab.state.forms import Fact, StateForm, dtype_text


def source_form(source: Source) -> StateForm:
    """Return the form of a source's positions: what sort of source it is, its columns and its event time."""
    facts = [Fact(f"column {name}", dtype_text(dtype)) for name, dtype in source.schema.items()]
    if source.timing.event_time is not None:
        facts.append(Fact("event time", source.timing.event_time))
    return StateForm(f"positions in {source.kind}", tuple(facts))
