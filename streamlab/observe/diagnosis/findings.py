"""What rules look at, and what they say."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from streamlab.observe.history import Sample
from streamlab.observe.status import JobState, JobStatus, TaskStatus

_WIDTH = 80
"""Characters of a line, so that it fits into a cell of a notebook."""


class Severity(StrEnum):
    """How much a finding matters, the worst first."""

    PROBLEM = "problem"
    """The job does not do what it is for."""
    WARNING = "warning"
    """Results are late or incomplete, or will be."""
    HINT = "hint"
    """Worth knowing."""

    @property
    def sign(self) -> str:
        """A sign for it, so that colour never carries it alone."""
        return {"problem": "✗", "warning": "▲", "hint": "•"}[self]


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes
    ----------
    kind : str
        Which rule found it, such as ``"bottleneck"``.
    severity : Severity
        How much it matters.
    subject : str
        The step, split or checkpoint that it is about; empty for the job as a whole.
    vertex : str
        Id of the vertex that it is about; empty for the job as a whole.
    sentence : str
        What is the matter, with figures.
    move : str
        What to do next.
    """

    kind: str
    severity: Severity
    subject: str
    sentence: str
    move: str
    vertex: str = ""

    def __str__(self) -> str:
        said = ((self.sentence, f"{self.severity.sign} ", "  "), (self.move, "  → ", "    "))
        return "\n".join(
            textwrap.fill(text, _WIDTH, initial_indent=first, subsequent_indent=then, break_long_words=False)
            for text, first, then in said
        )


@dataclass(frozen=True)
class Facts:
    """What is known of a job.

    Attributes
    ----------
    status : JobStatus
        The latest status.
    samples : Sequence[Sample]
        Its history, oldest first; may be empty.
    gives_to : Mapping[str, Sequence[str]]
        The vertices that each vertex gives rows to.
    checkpoint_every_ms : int | None
        Time between two checkpoints; None when none are taken.
    """

    status: JobStatus
    samples: Sequence[Sample] = ()
    gives_to: Mapping[str, Sequence[str]] = field(default_factory=dict)
    checkpoint_every_ms: int | None = None

    @property
    def is_running(self) -> bool:
        """Whether rows can be expected to flow."""
        return self.status.state is JobState.RUNNING

    def subtasks(self) -> Iterator[tuple[str, list[TaskStatus]]]:
        """Yield each vertex with its subtasks, in the order of the graph."""
        for vertex in dict.fromkeys(task.vertex for task in self.status.tasks):
            yield vertex, [task for task in self.status.tasks if task.vertex == vertex]

    def sources_of(self, vertex: str) -> list[str]:
        """Return the vertices whose rows come to a vertex."""
        return [source for source, targets in self.gives_to.items() if vertex in targets]


def percent(share: float) -> str:
    """Return a share of one as people write it; only what is whole is 100 %.

    >>> [percent(share) for share in (0, 0.00012, 0.0345, 0.98, 0.999, 0.99999, 1)]
    ['0 %', '0.012 %', '3.5 %', '98 %', '99.9 %', 'over 99.9 %', '100 %']
    """
    value = share * 100
    digits = f"{value:.2g}" if value < 10 else f"{value:.3g}"  # noqa: PLR2004 - as many as matter
    return "over 99.9 %" if value < 100 and digits == "100" else f"{digits} %"  # noqa: PLR2004 - the whole


def steps_of(tasks: Sequence[TaskStatus]) -> str:
    """Return the steps of a vertex in words."""
    return " → ".join(tasks[0].steps) or tasks[0].vertex


def quoted(name: str) -> str:
    """Return a name between marks, so that it cannot be taken for words of the sentence."""
    return f"'{name}'"
