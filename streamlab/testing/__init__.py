"""Tools for testing queries, operators, sources and sinks; nothing of streamlab itself imports them.

==============  ======================================================================================
module          what is in it
==============  ======================================================================================
`harness`       a query in one thread, fed by hand: push rows and watermarks, look at what comes out
`simulation`    a whole job in one thread under a schedule that a seed decides, crashes included
`recovery`      a job, its coordinator and its store under faults that a seed decides; a failing seed tells its story
`oracle`        what a bounded query must give, by plain Polars on all rows at once
`compare`       two results as multisets of rows
`strategies`    Hypothesis strategies for rows, batch cuts and queries (needs Hypothesis)
`sources`       frames in memory as several splits
`scenarios`     the queries that `recovery` runs; `ledger` is where their rows go
`faults`        what goes wrong in it, in `simulated_cluster`, `simulated_worker` and `faulty_blobs` (the store)
`wiring`        the tasks and channels of a job, one step at a time, for harnesses of one's own
==============  ======================================================================================
"""
