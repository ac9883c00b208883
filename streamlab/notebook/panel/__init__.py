"""What the tabs of a job's panel show, as plain values; drawn by the front end, by `static_view`, or as text."""
