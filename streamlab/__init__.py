"""Stateful stream processing in a notebook, on Polars."""
