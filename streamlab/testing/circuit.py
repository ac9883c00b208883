"""A walk from each of some sizes to each other one: the cheapest way to rescale between all of them."""

from __future__ import annotations

from collections.abc import Sequence


def circuit(sizes: Sequence[int], start: int) -> tuple[int, ...]:
    """Return a closed walk that takes every step from one size to another exactly once.

    Source: C. Hierholzer, Über die Möglichkeit, einen Linienzug ohne Wiederholung und ohne Unterbrechung zu umfahren,
    1873. In the graph of all steps every size has as many steps to it as from it, so there is such a walk.

    Parameters
    ----------
    sizes
        All different.
    start
        The one that it begins and ends with.

    Examples
    --------
    >>> circuit((1, 2, 4), 2)
    (2, 4, 2, 1, 4, 1, 2)
    """
    left = {size: [other for other in sizes if other != size] for size in sizes}
    path, walk = [start], []
    while path:
        if left[path[-1]]:
            path.append(left[path[-1]].pop())
        else:
            walk.append(path.pop())
    return tuple(reversed(walk))
