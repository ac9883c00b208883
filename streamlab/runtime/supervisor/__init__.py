"""The coordinator's process, and those that stand by to take its place: guardian and heirs."""
