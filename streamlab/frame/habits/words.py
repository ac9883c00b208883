"""The words of pandas, Spark, Flink and Polars' DataFrame that a stream has not, each with what to write instead."""

from __future__ import annotations

RUN = "collect() of a stream that ends, take(n), or job.results() of one that runs, returns a DataFrame"
ROLLING = "group_by_dynamic(…, every=…, period=…) gives hopping windows"
_SINKS = "sink_parquet(folder), sink_csv(folder) and the other sinks write while rows come"
_COMPUTE = "with_columns(pl.col('x') + 1) computes with columns"
_CALL = f"{_COMPUTE}, map_batches(function) calls Python"
_COMPARE = "filter(pl.col('x') == 1) chooses rows, with_columns(pl.col('x') == 1) compares"
_NO_INDEX = "a stream has no index: rows are told apart by their columns"
_PLOT = "job = stream.start(…), then job.plot() draws its results while they come"
_SHOWN = "print(stream) shows columns and steps"
_UNITE = "sl.concat([…]) unites streams"
_ADD = "with_columns(name=…) adds columns"
_RENAME = "rename({'x': 'y'}) renames columns"
_SORTED = "sort the result table: job.results().sort(…)"
_PARTS = "start(parallelism=4) says in how many parts a stream is worked on"
_KEPT = "a stream keeps no rows: use it as often as you like"
_FIRST = "group_by('k').first() keeps the first row of each key, in windows group_by_dynamic(…, group_by='k').first()"
_IN_WINDOWS = "group_by_dynamic('t', every='1m', group_by='k').agg(…) works on windows of time"
_GATHERED = "rows have no place among others; in windows: group_by_dynamic('t', every='1m').agg(pl.col('x').diff())"
_KEPT_UP = "select(pl.col('x').sum()) and group_by('k').agg(pl.col('x').sum()) are kept up to date while rows come"
_TABLES = "sink_sqlite(…), sink_duckdb(…) and sink_postgres(…) write tables"
_COUNTED = "group_by('x').len() counts values while they come"
_TURNED = "turn the result table: job.results().transpose()"
_EACH_BATCH = "sink_batches(function) hands each batch to a function"
_LISTS = "agg(pl.col('x').diff()) and the like gather them for each group in a list"
_IN_AGG = "agg(pl.col('x').std()), and so any aggregation of a column"
_EXPRESSIONS = f"expressions: {_IN_AGG}"


def _alike(*words: tuple[str, str]) -> dict[str, str]:
    """Return what to write for each of several names, which are given in one text."""
    return {name: said for names, said in words for name in names.split()}


LAZY = {
    "collect_async": "start() runs the query in the background",
    "collect_batches": "iter_batches() yields frames as they come",
    "sink_ipc": "sink_parquet(folder) writes files",
    "sink_iceberg": _EACH_BATCH,
    "show": "take(n) returns the first rows",
    "inspect": "take(n) returns the first rows",
    "show_graph": "explain() returns the plan as text",
    "execute": "start() runs the query in the background",
    "remote": "start() runs the query in the background",
    "profile": "job.metrics() has the time that each step takes",
    "clear": "head(0) is a stream without rows",
    "match_to_schema": "select(…) and cast(…) bring columns to a schema",
    "serialize": "a plan holds its sources and functions: keep the code that makes it",
}
"""What Polars' LazyFrame has."""

OF_STREAMS = {
    "agg": "group_by(keys).agg(…), or select(pl.col('x').sum()) over everything",
    "all": "select(pl.col('x').all()) is kept up to date while rows come",
    "any": "select(pl.col('x').any()) is kept up to date while rows come",
    "append": _UNITE,
    "applymap": "with_columns(pl.all() …) computes with columns",
    "approx_quantile": "in windows: group_by_dynamic(…).quantile(q)",
    "assign": _ADD,
    "astype": "cast({'x': pl.Int64}) changes dtypes",
    "at": "filter(…) chooses rows",
    "attrs": _SHOWN,
    "checkpoint": "start(checkpoint_every='10s') takes checkpoints",
    "copy": "a stream never changes: use it as often as you like",
    "cross_join": "with_columns(one=pl.lit(1)) on both sides, then join(frame, on='one')",
    "cube": "one group_by(…) for each set of keys",
    "drop_duplicates_within_watermark": _FIRST,
    "dropna": "drop_nulls(…), or drop_nans(…)",
    "duplicated": "group_by('k').len().filter(pl.col('len') > 1) keeps keys that came again",
    "empty": f"nobody knows before it runs: {RUN}",
    "eval": _COMPUTE,
    "except_all": "join(frame, on='k', how='anti') keeps rows whose keys a frame lacks",
    "expanding": "group_by_cumulative(…) gives windows that grow",
    "fetch": "head(n) takes the first rows that come",
    "fillna": "fill_null(…), or fill_nan(…)",
    "get_column": "pl.col('x') in select(…), filter(…) and the like",
    "get_columns": "select(…) chooses columns",
    "glimpse": f"{_SHOWN}; {RUN}",
    "groupby": "group_by(…), or group_by_dynamic(…) in windows of time",
    "grouping_sets": "one group_by(…) for each set of keys",
    "height": f"select(pl.len()) counts rows while they come; {RUN}",
    "hstack": "with_columns(…) adds columns",
    "idxmax": "group_by(…).agg(pl.col('x').max()) has the largest value",
    "idxmin": "group_by(…).agg(pl.col('x').min()) has the smallest value",
    "iloc": "rows of a stream have no numbers: filter(…) chooses some, head(n) takes the first",
    "info": _SHOWN,
    "asfreq": "windows without rows give none: fill the gaps of the result table",
    "get": "pl.col('x') in select(…), filter(…) and the like",
    "col_regex": "select(pl.col('^a.*$')) chooses columns by a pattern",
    "intersect": "join(frame, on='k', how='semi') keeps rows whose keys a frame has",
    "isin": "filter(pl.col('x').is_in([1, 2])) chooses rows",
    "item": RUN,
    "key_by": "group_by(keys), or group_by=keys in windows of time",
    "loc": "filter(…) chooses rows, select(…) columns",
    "map_in_pandas": "map_batches(function, as_='pandas') calls Python",
    "map_rows": "map_batches(function) hands each batch to a function",
    "melt": "unpivot(on=['x', 'y'], index='k') makes rows of columns",
    "memory_usage": "job.metrics() has the size of the state of each step",
    "merge": "join(other, on=…) joins with a frame or a stream, sl.concat([…]) unites streams",
    "minus": "join(frame, on='k', how='anti') keeps rows whose keys a frame lacks",
    "mode": _COUNTED,
    "na": "fill_null(value), drop_nulls(…)",
    "nlargest": "in windows: group_by_dynamic(…).agg(pl.col('x').top_k(n))",
    "nsmallest": "in windows: group_by_dynamic(…).agg(pl.col('x').bottom_k(n))",
    "nunique": "select(pl.col('x').n_unique()) is kept up to date while rows come",
    "offset": "rows of a stream have no numbers: filter(…) chooses some",
    "partition_by": "group_by(keys).agg(…)",
    "pivot_table": "group_by(keys).agg(…)",
    "plot": _PLOT,
    "pop": "drop('x') leaves a column out",
    "print": f"{_SHOWN}, take(n) returns the first rows",
    "query": "filter(pl.col('x') > 0) chooses rows",
    "reduce": "group_by(keys).agg(…)",
    "replace": "with_columns(pl.col('x').replace({1: 2})) replaces values",
    "resample": "group_by_dynamic(time, every='1h').agg(…)",
    "rollup": "one group_by(…) for each set of keys",
    "round": "with_columns(pl.col('x').round(1)) computes with columns",
    "run": "start(name) runs it in the background, collect() runs one that ends",
    "sample_by": "filter(pl.col('id').hash() % 100 == 0) takes about one row in a hundred",
    "select_dtypes": "select(pl.selectors.numeric()) chooses columns by their dtypes",
    "select_expr": "select(pl.sql_expr('x + 1 AS y')) reads an expression of SQL",
    "shape": f"width is known; select(pl.len()) counts rows while they come; {RUN}",
    "size": "select(pl.len()) counts rows while they come",
    "subtract": f"{_COMPUTE}; join(frame, on='k', how='anti') keeps rows whose keys a frame lacks",
    "summary": "select(pl.len(), pl.col('x').mean(), …) keeps figures up to date",
    "to_csv": "sink_csv(folder) writes files while rows come",
    "to_df": _RENAME,
    "to_local_iterator": "iter_batches() yields frames as they come",
    "to_parquet": "sink_parquet(folder) writes files while rows come",
    "to_sql": _TABLES,
    "transform": _COMPUTE,
    "tz_convert": "with_columns(pl.col('t').dt.convert_time_zone('UTC'))",
    "tz_localize": "with_columns(pl.col('t').dt.replace_time_zone('UTC'))",
    "upsample": "windows without rows give none: fill the gaps of the result table",
    "vstack": _UNITE,
    "where": "filter(pl.col('x') > 0) chooses rows, with_columns(pl.when(…).then(…).otherwise(…)) values",
    "write": _SINKS,
    "write_csv": "sink_csv(folder) writes files while rows come",
    "write_database": _TABLES,
    "write_delta": "sink_delta(path) writes a table while rows come",
    "write_ndjson": "sink_ndjson(folder) writes files while rows come",
    "write_parquet": "sink_parquet(folder) writes files while rows come",
    **_alike(
        ("apply map process map_partitions", _CALL),
        ("flat_map", "map_batches(function) may return more rows, explode('x') opens lists"),
        ("add sub mul multiply div divide truediv floordiv mod pow abs clip", _COMPUTE),
        ("radd rsub rmul rdiv rtruediv rfloordiv rmod rpow combine combine_first dot", _COMPUTE),
        ("eq ne lt le gt ge equals compare", _COMPARE),
        ("mask", "with_columns(pl.when(…).then(…).otherwise(…)) chooses values"),
        ("aggregate", "group_by(keys).agg(…), or select(pl.col('x').sum()) over everything"),
        ("drop_duplicates distinct dedup deduplicate", _FIRST),
        ("prod product", "select(pl.col('x').product()) is kept up to date while rows come"),
        ("skew kurt kurtosis sem", "select(pl.col('x').skew()) is kept up to date while rows come"),
        ("corr cov corrwith", "select(pl.corr('x', 'y')) is kept up to date while rows come"),
        ("cumsum cumprod cummax cummin cumcount cum_sum cum_count cum_max cum_min", _KEPT_UP),
        ("diff pct_change rank ewm autocorr", _GATHERED),
        ("ffill bfill pad backfill forward_fill", "fill_null(value) fills gaps"),
        ("isna isnull", "with_columns(pl.all().is_null())"),
        ("notna notnull", "with_columns(pl.all().is_not_null())"),
        ("iter_rows iterrows itertuples items iteritems", "iter_batches() yields frames as they come"),
        ("intersect_all", "join(frame, on='k', how='semi') keeps rows whose keys a frame has"),
        ("align isetitem", "with_columns(…) adds and replaces columns"),
        ("ndim set_flags", _SHOWN),
        ("iat row rows values get_value", RUN),
        ("xs lookup", "filter(pl.col('x') == 1) chooses rows"),
        ("axes keys", "columns has the names of the columns, schema their dtypes"),
        ("set_index reset_index index reindex reindex_like rename_axis droplevel swaplevel reorder_levels", _NO_INDEX),
        ("add_prefix", "rename(lambda name: 'a_' + name) renames all columns"),
        ("add_suffix", "rename(lambda name: name + '_a') renames all columns"),
        ("set_axis with_column_renamed with_columns_renamed rename_columns", _RENAME),
        ("with_column insert add_column add_columns add_or_replace_columns", _ADD),
        ("drop_columns drop_column", "drop('x') leaves a column out"),
        ("convert_dtypes infer_objects", "cast({'x': pl.Int64}) changes dtypes"),
        ("hist boxplot style display", _PLOT),
        ("T transpose stack unstack swapaxes squeeze", _TURNED),
        ("sort_values sort_index order_by sort_by sort_within_partitions argsort", _SORTED),
        (
            "between_time at_time truncate asof first_valid_index last_valid_index",
            "filter(pl.col('t') > pl.datetime(2024, 1, 1))",
        ),
        ("value_counts freq_items crosstab count_values", _COUNTED),
        ("union union_all union_by_name connect concat", _UNITE),
        ("persist unpersist alias hint local_checkpoint", _KEPT),
        ("repartition coalesce rebalance set_parallelism repartition_by_range shuffle broadcast", _PARTS),
        ("foreach foreach_batch foreach_partition add_sink sink_to for_each", _EACH_BATCH),
        ("print_schema", _SHOWN),
        ("create_temp_view create_or_replace_temp_view register_temp_table", _KEPT),
        ("map_in_arrow pandas_api apply_in_pandas", "map_batches(function, as_='pandas') calls Python"),
        ("rdd stat spark_session input_files observe", f"{_SHOWN}; {RUN}"),
        ("random_split", "filter(pl.col('id').hash() % 100 == 0) takes about one row in a hundred"),
        ("window time_window tumble hop session window_all tumbling_window sliding_window", _IN_WINDOWS),
        ("assign_timestamps_and_watermarks", "with_watermark('t', '10s') declares the event time"),
        ("name uid", "named('…') names the last step"),
        ("left_outer_join left_join", "join(frame, on='k', how='left') joins with a frame"),
        ("inner_join full_outer_join right_outer_join", "join(frame, on='k', how='inner') joins with a frame"),
        ("execute_and_collect", RUN),
        ("await_termination wait stop status cancel", "job = stream.start(…), then job.wait(), job.stop()"),
    ),
}
"""What others have, for streams."""

BEGINNINGS = (
    ("rolling", ROLLING),
    ("to_", RUN),
    ("write_", _SINKS),
    ("is_", f"nobody knows before it runs: {RUN}"),
)
"""What to write for all names that begin so."""

OF_GROUPS = {
    "aggregate": "agg(…)",
    "avg": "mean()",
    "collect_list": "agg(pl.col('x')) gathers values in a list",
    "describe": "agg(pl.len(), pl.col('x').mean().alias('mean'), …) keeps figures up to date",
    "filter": "having(pl.len() > 1) keeps groups; a filter(…) of rows goes before the group_by",
    "get_group": "filter(pl.col('k') == 'a') keeps one group",
    "nlargest": "agg(pl.col('x').top_k(n))",
    "nsmallest": "agg(pl.col('x').bottom_k(n))",
    "nth": "agg(pl.col('x').get(1, null_on_oob=True)) takes the second of each group",
    "ngroups": "select(pl.col('k').n_unique()) counts groups",
    "nunique": "n_unique()",
    "ohlc": "agg(open=pl.col('x').first(), high=pl.col('x').max(), low=pl.col('x').min(), close=pl.col('x').last())",
    "pivot": "one aggregation for each value: agg(pl.col('x').filter(pl.col('y') == 'a').sum().alias('a'), …)",
    "sample": "filter(pl.col('id').hash() % 100 == 0) before the group_by takes about one row in a hundred",
    "size": "len() counts the rows of each group",
    "unique": "agg(pl.col('x').unique())",
    "value_counts": "group_by('k', 'x').len() counts values in each group",
    **_alike(
        ("std var sem skew kurt prod product mode any corr cov", _IN_AGG),
        (
            "apply transform pipe map map_batches reduce process apply_in_pandas cogroup select",
            f"expressions: {_IN_AGG}",
        ),
        ("idxmax idxmin", "agg(pl.all().sort_by('x').last()) takes the row with the largest x of each group"),
        ("cumsum cumprod cummax cummin cumcount diff pct_change rank shift ewm ngroup", _LISTS),
        ("rolling resample expanding window group_by_dynamic", _IN_WINDOWS),
        ("ffill bfill fillna pad interpolate", "fill_null(value) fills gaps before the group_by"),
        ("groups indices", "keys are columns of the result: agg(pl.len())"),
        ("plot hist boxplot", "agg(…), and then job = stream.start(…) and job.plot() draws results while they come"),
        ("take", "agg(pl.col('x').head(5)) gathers them in a list"),
    ),
}
"""What others have, for groups."""

OF_ARGUMENTS = {
    "inplace": "a stream never changes, the method returns a new one",
    "axis": "rows have yet to come, columns are computed with in with_columns(…)",
    "numeric_only": "select(pl.selectors.numeric()) chooses columns first, or name them in agg(pl.col('x').sum())",
    "as_index": "keys are columns of the result",
    "ignore_index": "a stream has no index",
    "level": "a stream has no index",
    "skipna": "nulls are left out",
    "min_count": "filter(…) the result",
}
"""Arguments of pandas, with the reason why there are none."""
