"""The coordinator of a job, pure: a state machine of events and commands, and the parts that it is made of."""
