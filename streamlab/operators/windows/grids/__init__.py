"""Windows that do not depend on the data: where they begin and end, in UTC and in zones with daylight saving."""
