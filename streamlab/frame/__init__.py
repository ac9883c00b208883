"""StreamFrame: the DataFrame-like interface; each method adds one node to a plan."""
