"""`replicator demo`."""

from __future__ import annotations


def demo() -> None:
    """Two bundled clusters, orders in one, their copies in the other: see it work."""
    raise NotImplementedError
