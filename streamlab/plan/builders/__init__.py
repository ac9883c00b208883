"""The maker of plan nodes: functions that check and type a step, and return its node.

What is refused, and in which words, is decided here, so whoever builds plans (the methods of frames, SQL) has the same
checks.
"""
