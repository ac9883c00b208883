"""Processes, whoever they are: how they are started, told apart and ended; what they print and leave behind."""
