"""Scripts as the command line runs them: with their own folder on the path, as ``__main__`` or only to be looked at."""

from __future__ import annotations

import sys
import traceback
import types
from collections.abc import Sequence
from pathlib import Path

from streamlab.core.errors import OptionError, StreamlabError, explained
from streamlab.frame.stream_frame import StreamFrame


def run_script(path: Path, arguments: Sequence[str] = (), *, as_main: bool = True) -> dict[str, object]:
    """Execute a script and return its names.

    Parameters
    ----------
    path
        The script.
    arguments
        What it finds in ``sys.argv`` behind its own name.
    as_main
        Whether what stands under ``if __name__ == "__main__"`` runs too.

    Raises
    ------
    SystemExit
        If the script raised something else than an error of ours; its traceback has been printed as Python does.
    """
    module = types.ModuleType("__main__" if as_main else "__streamlab_script__")
    module.__file__ = str(path)
    sys.argv = [str(path), *arguments]
    sys.path.insert(0, str(path.resolve().parent))
    # Functions of the script are sent to workers by value, which needs them to belong to a module that is loaded.
    sys.modules[module.__name__] = module
    try:
        code = compile(path.read_bytes(), str(path), "exec")
        exec(code, module.__dict__)  # noqa: S102 - running the user's script is the point
    except StreamlabError:
        raise
    except Exception as error:
        own = error.__traceback__.tb_next if error.__traceback__ is not None else None
        traceback.print_exception(type(error), error, own)
        raise SystemExit(1) from error
    return module.__dict__


def find_stream(names: dict[str, object], variable: str | None, path: Path) -> StreamFrame:
    """Return the stream that a script is about.

    That is the variable that was asked for, or one called ``stream``, or the only one that there is.

    Raises
    ------
    OptionError
        If there is none, or more than one to choose from.
    """
    streams = {name: value for name, value in names.items() if isinstance(value, StreamFrame)}
    wanted = variable or ("stream" if "stream" in streams else None)
    if wanted is None and len(streams) == 1:
        return next(iter(streams.values()))
    if wanted in streams:
        return streams[wanted]
    got = f"none called {variable!r}" if variable else f"{len(streams)} of them" if streams else "none"
    hint = f"choose one with --stream: {', '.join(streams)}" if streams else "assign it: stream = sl.scan_parquet(…)…"
    raise OptionError(explained(str(path), needed="a StreamFrame among its variables", got=got, hint=hint))
