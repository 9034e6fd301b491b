"""The client side of an incremental fetch session with one broker (KIP-227).

Invariants:
- A: after an acknowledged request, `_known` is exactly what the broker holds: the same partitions, the same positions.
- B: a partition is sent again only when what we want of it differs from what the broker knows.
- C: whatever the broker says against the session (or a lost connection) leads to a full request, never to a guess.
"""

from __future__ import annotations

from replicator.wire.fetch import FetchPosition, TopicKey

FINAL_EPOCH = -1
_MAX_EPOCH = 2**31 - 1


class FetchSession:
    """Turns "these positions are wanted now" into the smallest request that says so."""

    __slots__ = ("_known", "epoch", "session_id")

    def __init__(self) -> None:
        self.session_id = 0
        self.epoch = 0
        self._known: dict[tuple[TopicKey, int], FetchPosition] = {}

    def reset(self) -> None:
        """Forget the session; the next request is a full one."""
        self.session_id = self.epoch = 0
        self._known.clear()

    def plan(
        self, wanted: dict[tuple[TopicKey, int], FetchPosition]
    ) -> tuple[dict[TopicKey, list[FetchPosition]], dict[TopicKey, list[int]]]:
        """What to send (positions that are new or moved) and what to forget, so that the broker knows `wanted`."""
        known = self._known
        topics: dict[TopicKey, list[FetchPosition]] = {}
        forgotten: dict[TopicKey, list[int]] = {}
        for key, position in wanted.items():
            if known.get(key) != position:
                topics.setdefault(key[0], []).append(position)
        if len(known) > len(wanted) or known.keys() - wanted.keys():
            for key in known.keys() - wanted.keys():
                forgotten.setdefault(key[0], []).append(key[1])
        self._known = wanted
        return topics, forgotten

    def answered(self, session_id: int) -> None:
        """The request was accepted. Session id 0: the broker has no room for a session; every request is full."""
        if session_id == 0:
            self.reset()
            return
        self.session_id = session_id
        self.epoch = 1 if self.epoch == _MAX_EPOCH else self.epoch + 1
