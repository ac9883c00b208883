"""Jobs in processes of their own: pure state machines (coordinator, task, exchange) in a shell that does the I/O."""
