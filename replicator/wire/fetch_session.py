"""The client side of an incremental fetch session with one broker (KIP-227).

Invariants:
- A: when the broker has accepted a request, it holds exactly the positions in `_wanted` as of that request.
- B: a partition is sent again only when what we want of it has changed; the work per request follows the changes.
- C: whatever the broker says against the session (or a lost connection) leads to a full request, never to a guess.
"""

from __future__ import annotations

from replicator.wire.fetch import FetchPosition, TopicKey

CLOSING_EPOCH = -1  # in place of the session's: the broker is to forget it
_MAX_EPOCH = 2**31 - 1
_Key = tuple[TopicKey, int]


class FetchSession:
    """Turns "these positions are wanted now" into the smallest request that says so."""

    __slots__ = ("_changed", "_forgotten", "_sent", "_wanted", "epoch", "session_id")

    def __init__(self) -> None:
        self.session_id = 0
        self.epoch = 0
        # Ordered: what has just been read goes to the end, so that without a session nobody starves (brokers fill a
        # response in the order of the request).
        self._wanted: dict[_Key, FetchPosition] = {}
        self._changed: dict[_Key, None] = {}
        self._sent: dict[_Key, FetchPosition] = {}
        self._forgotten: set[_Key] = set()

    def __len__(self) -> int:
        return len(self._wanted)

    def want(self, key: _Key, position: FetchPosition) -> None:
        """Read this partition from this position on."""
        if self._wanted.get(key) != position:
            self._wanted.pop(key, None)
            self._wanted[key] = position
            self._changed[key] = None
            self._forgotten.discard(key)

    def drop(self, key: _Key) -> None:
        """Don't read this partition for now."""
        if self._wanted.pop(key, None) is not None:
            self._changed.pop(key, None)
            if key in self._sent:
                self._forgotten.add(key)

    def asked(self, key: _Key) -> FetchPosition | None:
        """The position that the last request, and so its answer, is about; None if it wasn't to be read."""
        return self._sent.get(key)

    def reset(self) -> None:
        """Forget the session, not what is wanted; the next request is a full one."""
        self.session_id = self.epoch = 0
        self._sent.clear()
        self._forgotten.clear()
        self._changed = dict.fromkeys(self._wanted)

    def plan(self) -> tuple[dict[TopicKey, list[FetchPosition]], dict[TopicKey, list[int]]]:
        """What to send (positions that are new or moved) and what to forget, so that the broker knows what we want."""
        topics: dict[TopicKey, list[FetchPosition]] = {}
        forgotten: dict[TopicKey, list[int]] = {}
        for key in self._changed:
            position = self._sent[key] = self._wanted[key]
            topics.setdefault(key[0], []).append(position)
        for key in self._forgotten:
            forgotten.setdefault(key[0], []).append(key[1])
            del self._sent[key]
        self._changed = {}
        self._forgotten = set()
        return topics, forgotten

    def answered(self, session_id: int) -> None:
        """The request was accepted. Session id 0: the broker has no room for a session; every request is full."""
        if session_id == 0:
            self.reset()
            return
        self.session_id = session_id
        self.epoch = 1 if self.epoch == _MAX_EPOCH else self.epoch + 1
