"""``%%stream``: start a stream from a cell and watch it; ``%stream``: list jobs, see one, stop one.

::

    %%stream hourly --parallelism 2
    flights.group_by_dynamic("dep_time", every="1h", group_by="origin").agg(pl.len())

starts the job ``hourly`` in the background, binds it to the name ``hourly`` and returns at once. Running the cell again
replaces the job.
"""

from __future__ import annotations

import keyword
import re
import shlex
from difflib import get_close_matches
from types import ModuleType
from typing import Any, NoReturn

from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from IPython.core.magic import Magics, line_cell_magic, magics_class, no_var_expand
from IPython.core.magic_arguments import MagicArgumentParser, argument, magic_arguments

from streamlab.core.errors import StreamlabError
from streamlab.frame.stream_frame import StreamFrame
from streamlab.job import attach, jobs
from streamlab.job.job import Job
from streamlab.notebook.magics.cell import run_cell
from streamlab.notebook.magics.completion import VERBS, make_matcher
from streamlab.notebook.magics.errors import StreamError
from streamlab.notebook.panel.choice import MODES, Choice, Mode
from streamlab.notebook.panel.reader import JobReader
from streamlab.notebook.view import static_view
from streamlab.notebook.view.job_list import JobList
from streamlab.notebook.view.live_view import LiveView
from streamlab.notebook.view.refresher import shared_pump, stop_shared_pump
from streamlab.notebook.view.render_mode import render_mode

_MODE_HELP = f"what the results show first: {', '.join(f'{mode}: {text}' for mode, text in MODES.items())}"
_REPLACE_WAIT_S = 10.0


@magics_class
class StreamMagics(Magics):
    """The ``stream`` magic of one shell.

    Parameters
    ----------
    shell
        The shell that it belongs to.
    """

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._pump = shared_pump(shell)
        self._views: dict[str, LiveView] = {}
        self._own: dict[str, Job] = {}
        options = [option for action in self._parser._actions for option in action.option_strings]
        self._matcher = make_matcher(shell, [option for option in options if option.startswith("--")])
        shell.Completer.custom_matchers.append(self._matcher)
        shell.input_transformers_cleanup.insert(0, _keep_empty_body)

    def close(self) -> None:
        """Stop drawing and completing; jobs go on."""
        stop_shared_pump(self.shell)
        if self._matcher in self.shell.Completer.custom_matchers:
            self.shell.Completer.custom_matchers.remove(self._matcher)
        if _keep_empty_body in self.shell.input_transformers_cleanup:
            self.shell.input_transformers_cleanup.remove(_keep_empty_body)

    @no_var_expand
    @magic_arguments()
    @argument("name", nargs="?", help="name of the job, and of the variable that it is bound to")
    @argument("-p", "--parallelism", type=int, help="subtasks per step, and worker processes")
    @argument("--pace", help="replay by event time: 'max', 'realtime' or a factor such as '60x'")
    @argument("--limit", type=int, default=10, help="result rows that the live view shows (default: 10)")
    @argument("--mode", choices=tuple(MODES), default="update", help=_MODE_HELP)
    @argument("--keep-rows", type=int, help="newest result rows that an endless stream keeps")
    @argument(
        "--checkpoint-every", help="from one checkpoint to the next, such as 5s; 'never' takes none (default: 10s)"
    )
    @argument("--checkpoint-keep", type=int, help="how many checkpoints are kept (default: 3)")
    @argument("--paused", action="store_true", help="start paused, to be stepped by hand: NAME.step(rows=1)")
    @argument("--wait", action="store_true", help="wait for the job's end; interrupting ends the waiting, not the job")
    @argument("--detach", action="store_true", help="let the job go on when this kernel ends")
    @argument("--explain", action="store_true", help="show the plan and start nothing")
    @argument("--no-display", action="store_true", help="start without a live view")
    @argument("--compact", action="store_true", help="show the result table and one line of status")
    @argument("-h", "--help", action="store_true", help="show this text")
    @line_cell_magic
    def stream(self, line: str, cell: str | None = None) -> Any:
        """Run a stream in the background.

        As a cell: the body is Python and its last expression a StreamFrame. The job starts at once, is bound to NAME,
        and its live view stands below the cell. Running the cell again replaces the job. The body sees the variables of
        the notebook; in a function of yours, call NAME = frame.start("NAME") instead, and end a cell with the job.

        As a line: `%stream` lists jobs, `%stream list TEXT` those with TEXT in their name or state, `%stream NAME` or
        `%stream show NAME` shows one, `%stream stop NAME` ends one where it stands, `%stream cancel NAME` ends one now.
        """
        if cell is None:
            return self._line(_split(line))
        first = f"%%stream {line}".rstrip()
        options = self._parse(_split(line, first), first)
        if options.help:
            print(self._parser.format_help())
            return None
        return self._cell(options, cell)

    # -- the cell ------------------------------------------------------------------------------------------------

    def _cell(self, options: Any, body: str) -> Any:
        name = self._checked(options.name, body)
        mode = render_mode(self.shell)
        value = run_cell(self.shell, body)
        if not isinstance(value, StreamFrame):
            text = (
                f"the last line of the cell must be a StreamFrame, got {type(value).__name__}\n"
                "  → streams begin with sl.from_frame(…), sl.scan_parquet(…), sl.generate(…) and the like"
            )
            raise StreamError(text)
        try:
            frame = value if options.pace is None else value.with_pace(options.pace)
            if options.explain:
                print(frame.explain(parallelism=options.parallelism))
                return None
            self._replace(name)
            job = frame.start(name, **_start_options(options))
        except StreamlabError as error:
            raise _shown(error) from error
        self._own[name] = job
        self.shell.user_ns[name] = job
        if not options.no_display:
            self._show(job, mode, options.limit, compact=options.compact, results=options.mode)
        if options.wait:
            self._wait(job)
        return None

    def _checked(self, name: str | None, body: str) -> str:
        """Return the name; a job may take that of another value, but not of what the cell needs."""
        if name is None or not name.isidentifier() or keyword.iskeyword(name):
            got = "none" if name is None else repr(name)
            text = f"%%stream needs a name that can be a variable, got {got}\n  → for instance: %%stream hourly"
            raise StreamError(text)
        taken = self.shell.user_ns.get(name)
        is_read = isinstance(taken, StreamFrame) and re.search(rf"\b{name}\b", body) is not None
        if is_read or isinstance(taken, ModuleType):
            what = "the stream that the cell reads" if is_read else "a module"
            text = f"%%stream {name} would take the name from {what}\n  → give the job another: %%stream {name}_job"
            raise StreamError(text)
        return name

    def _replace(self, name: str) -> None:
        """End the job of this name that this kernel has started before, and say so."""
        old = self._own.pop(name, None)
        view = self._views.pop(name, None)
        if old is not None and not old.status.is_final:
            old.cancel(timeout=_REPLACE_WAIT_S)
            print(f"Replaced job {name} ({old.id}), which was running.")
        if view is not None:
            view.close()

    def _wait(self, job: Job) -> None:
        try:
            job.wait()
        except KeyboardInterrupt:
            print(f"Job {job.name} goes on; {job.name}.stop() ends it.")
        except StreamlabError as error:
            raise _shown(error) from error

    def _show(self, job: Job, mode: str, limit: int, *, compact: bool = False, results: Mode = "update") -> None:
        # The view reads results from a thread of its own, so it needs an object of its own.
        own = attach(job.id)
        view = LiveView(own, mode, limit, compact=compact, results=results, on_click=self._pump.wake)
        self._views[job.name] = view
        if not view.ended:
            self._pump.add(view)

    # -- the line ------------------------------------------------------------------------------------------------

    def _line(self, words: list[str]) -> Any:
        if not words:
            return JobList(jobs())
        if words[0] in {"-h", "--help"}:
            print(self._parser.format_help())
            return None
        if words[0] == "list":
            return JobList(jobs(), " ".join(words[1:]))
        verb, *names = words if words[0] in VERBS else ("show", *words)
        if len(names) != 1:
            text = f"%stream {verb} needs one job, got {' '.join(names) or 'none'}\n  → %stream lists them"
            raise StreamError(text)
        try:
            job = attach(names[0])
            if verb == "show":
                return self._look(job)
            state = job.stop() if verb == "stop" else job.cancel()
        except StreamlabError as error:
            raise _shown(error) from error
        print(f"Job {job.name} ({job.id}): {state}.")
        return None

    def _look(self, job: Job) -> Any:
        mode = render_mode(self.shell)
        if mode == "text":
            print(static_view.to_text(JobReader(job).saved(Choice())))
        else:
            self._show(job, mode, 10)
        return None

    # -- arguments -----------------------------------------------------------------------------------------------

    @property
    def _parser(self) -> MagicArgumentParser:
        parser: MagicArgumentParser = self.stream.parser
        return parser

    def _parse(self, words: list[str], first: str) -> Any:
        try:
            return self._parser.parse_args(words)
        except UsageError as error:
            known = [option for action in self._parser._actions for option in action.option_strings]
            unknown = [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]
            meant = get_close_matches(unknown[0], known, 1) if unknown else []
            _refuse(f"{error}{f'; did you mean {meant[0]}?' if meant else ''}", error, first)


def _start_options(options: Any) -> dict[str, Any]:
    """Return what was said on the first line; what was not is left to `StreamFrame.start`."""
    given = {
        name: getattr(options, name) for name in ("parallelism", "keep_rows", "checkpoint_every", "checkpoint_keep")
    }
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("checkpoint_every") == "never":
        given["checkpoint_every"] = None
    return {**given, "detach": options.detach, "paused": options.paused}


def _split(line: str, first: str = "") -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        _refuse(f"%stream {line}: {error}", error, first)


def _refuse(message: str, error: Exception, first: str) -> NoReturn:
    """Raise what is wrong with the first line of a cell, or with a line of its own."""
    text = f"{message}\n  → %stream --help shows the options"
    raise StreamError(text, line=1 if first else None, source=first) from error


def _keep_empty_body(lines: list[str]) -> list[str]:
    """Give a cell without a body an empty line: IPython calls no magic without one, and lets such a cell pass."""
    begun = [line for line in lines if line.strip()]
    is_bare = len(begun) == 1 and re.match(r"%%stream\b(?!\?)", begun[0]) is not None
    return [f"{begun[0].rstrip()}\n", "\n"] if is_bare else lines


def _shown(error: StreamlabError) -> StreamError:
    return StreamError(str(error), kind=type(error).__name__)
