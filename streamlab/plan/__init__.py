"""The query as the user wrote it: immutable nodes, what can be said about expressions, rewriting rules, explain."""
