"""Arguments of Polars' own ``scan_…`` functions that a stream cannot have: the reason, and what to do instead."""

from __future__ import annotations

from collections.abc import Mapping

_PATHS = "the paths come first and need no name: scan_csv('folder')"
_NUMBERED = "rows come from several places at once: number them where they are made, or with a column of the files"
_LOCAL = "files are read from this machine: mount the store, or copy the files into a folder and follow that"
_CHUNKS = "files are read in chunks anyway, of start(batch_rows=…) rows at most"
_ADAPTED = "schema_policy='coerce' fills missing columns with null, leaves out new ones and casts others"
_HIDDEN = "files whose names begin with . or _ belong to no folder; a glob means them if it matches them"

_ALL: Mapping[str, str] = {
    "source": _PATHS,
    "row_index_name": _NUMBERED,
    "row_index_offset": _NUMBERED,
    "storage_options": _LOCAL,
    "credential_provider": _LOCAL,
    "low_memory": _CHUNKS,
    "rechunk": _CHUNKS,
    "cache": "nothing is read twice that need not be: a stream that feeds several steps is read once",
    "missing_columns": _ADAPTED,
    "extra_columns": _ADAPTED,
    "ignore_errors": "what cannot be read becomes dead letters anyway: collect(dead_letters=True) returns them",
    "dtypes": "it is called schema_overrides, as in Polars by now",
    "dtype": "it is called schema_overrides, as in Polars by now",
}
REASONS: Mapping[str, Mapping[str, str]] = {
    "scan_csv": {
        **_ALL,
        "with_column_names": "new_columns=[…] names the columns, or rename({…}) behind it",
        "infer_schema_files": "as many files are looked at as show values of all columns, twenty at most: give schema",
        "eol_char": "records end with \\n, also behind a \\r: rewrite files that end them otherwise",
        "raise_if_empty": "a file without a header shows no columns: give schema, and it may be empty",
        "sep": "it is called separator",
    },
    "scan_parquet": {
        **_ALL,
        "parallel": "parts of files go to the subtasks: start(parallelism=…) says how many",
        "use_statistics": "statistics are used where a filter stands right behind the scan",
        "hidden_file_prefix": _HIDDEN,
        "cast_options": _ADAPTED,
        "decryption": "encrypted files cannot be read: write them without",
    },
    "scan_ndjson": {**_ALL, "batch_size": _CHUNKS},
    "scan_ipc": {**_ALL, "memory_map": _CHUNKS, "hidden_file_prefix": _HIDDEN},
}
