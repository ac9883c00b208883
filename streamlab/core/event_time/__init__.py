"""Time: durations, event times, watermarks and windows, as values and pure state machines."""
