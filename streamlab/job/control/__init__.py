"""What a user does to a running job: pace, parallelism, savepoints, steps by hand, its end."""
