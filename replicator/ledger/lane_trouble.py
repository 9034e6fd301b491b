"""What keeps a whole lane from running, in the link's control topic: where `status` finds it.

The lane's own ledger partition can't hold it: whoever can't become the lane's producer can't write there either. So
these are plain records, one per lane, written anew while the trouble lasts, and a tombstone when it is over. They
decide nothing; a worker that ends leaves them behind, and they count for `FRESH_MS` only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from replicator.states import Reason

FRESH_MS = 60_000
DETAIL_MAX = 1000
_PREFIX = b"lane/"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class LaneTrouble:
    """`lane` doesn't run, for this reason, since `since_ms`; it was still so at `seen_ms`."""

    lane: int
    reason: Reason
    detail: str
    since_ms: int
    seen_ms: int


def encode_trouble(trouble: LaneTrouble) -> tuple[bytes, bytes]:
    """Key and value for the control topic."""
    held = {
        "version": _VERSION,
        "reason": trouble.reason.value,
        "detail": trouble.detail[:DETAIL_MAX],
        "since_ms": trouble.since_ms,
        "seen_ms": trouble.seen_ms,
    }
    return trouble_key(trouble.lane), json.dumps(held, separators=(",", ":")).encode()


def trouble_key(lane: int) -> bytes:
    """The key; with no value it says that the trouble is over."""
    return _PREFIX + str(lane).encode()


def take_trouble(troubles: dict[int, LaneTrouble], key: bytes | None, value: bytes | None) -> None:
    """Apply one control record to `troubles`, by lane; records of other kinds change nothing."""
    if key is None or not key.startswith(_PREFIX) or not key[len(_PREFIX) :].isdigit():
        return
    lane = int(key[len(_PREFIX) :])
    if value is None:
        troubles.pop(lane, None)
        return
    try:
        held = json.loads(value)
        known = held["reason"] in Reason.__members__
        troubles[lane] = LaneTrouble(
            lane,
            Reason(held["reason"]) if known else Reason.UNKNOWN,
            str(held["detail"])[:DETAIL_MAX],
            int(held["since_ms"]),
            int(held["seen_ms"]),
        )
    except (ValueError, KeyError, TypeError):
        troubles[lane] = LaneTrouble(lane, Reason.UNKNOWN, "It is described in a form that isn't known here.", 0, 0)
