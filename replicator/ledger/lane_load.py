"""What a lane carries, in the link's control topic: written by its owner while it carries much, read by the controller.

One record per lane. They decide nothing by themselves; a lane that is idle has the record that said so.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

_PREFIX = b"load/"
_VERSION = 1
MAX_HOT = 3


@dataclass(frozen=True, slots=True)
class LaneLoad:
    """Bytes a second written to the target, and by the lane's hottest partitions: (topic, partition, bytes/s)."""

    lane: int
    worker: str  # an id that a process keeps for its life
    at_ms: int
    bytes_per_s: int
    hot: tuple[tuple[str, int, int], ...] = ()


def encode_load(load: LaneLoad) -> tuple[bytes, bytes]:
    """Key and value for the control topic."""
    held = {
        "version": _VERSION,
        "worker": load.worker,
        "at_ms": load.at_ms,
        "bytes_per_s": load.bytes_per_s,
        "hot": load.hot[:MAX_HOT],
    }
    return _PREFIX + str(load.lane).encode(), json.dumps(held, separators=(",", ":")).encode()


def take_load(loads: dict[int, LaneLoad], key: bytes | None, value: bytes | None) -> None:
    """Apply one control record to `loads`, by lane; records of other kinds, and what can't be read, change nothing."""
    if key is None or value is None or not key.startswith(_PREFIX) or not key[len(_PREFIX) :].isdigit():
        return
    lane = int(key[len(_PREFIX) :])
    try:
        held = json.loads(value)
        if held["version"] == _VERSION:
            hot = tuple((str(topic), int(partition), int(rate)) for topic, partition, rate in held["hot"][:MAX_HOT])
            loads[lane] = LaneLoad(lane, str(held["worker"]), int(held["at_ms"]), int(held["bytes_per_s"]), hot)
    except (ValueError, KeyError, TypeError):
        return
