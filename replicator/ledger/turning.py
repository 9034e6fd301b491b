"""What is remembered where a link's direction is turned: in its control topic, so that a command may be run again.

*cuts*: where copying had got to on the target when it was promoted or failed over, per topic; what clients write there
from then on lies behind. *starts*: before which offset of the source there is nothing of its clients that the target
hasn't, since the other direction had written it. *former*: where a group stood on the target when the direction was
turned: its source's position counts from then on.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from replicator.ledger.log import KeyValue

Key = tuple[str, int]
ByPartition = Mapping[int, int]

_CUT, _START, _FORMER = b"turn/cut/", b"turn/start/", b"turn/former/"
_VERSION = 1


@dataclass(slots=True)
class Turning:
    """What of this kind stands in a control topic; `take` applies one record after the other."""

    cuts: dict[str, ByPartition] = field(default_factory=dict)  # by source topic, offsets of the target
    starts: dict[str, ByPartition] = field(default_factory=dict)  # by source topic, offsets of the source
    groups: dict[str, Mapping[Key, int]] = field(default_factory=dict)  # by group, of the target

    def take(self, key: bytes | None, value: bytes | None) -> None:
        """Apply a record. One of another kind, or that can't be read, changes nothing."""
        if key is None or not key.startswith(b"turn/"):
            return
        try:
            held = None if value is None else json.loads(value)
            if held is not None and held["version"] != _VERSION:
                return
            for prefix, into in ((_CUT, self.cuts), (_START, self.starts)):
                if key.startswith(prefix):
                    topic = key.removeprefix(prefix).decode()
                    into.pop(topic, None)
                    if held is not None:
                        into[topic] = {int(partition): int(at) for partition, at in held["offsets"].items()}
            if key.startswith(_FORMER):
                group = key.removeprefix(_FORMER).decode()
                self.groups.pop(group, None)
                if held is not None:
                    self.groups[group] = {(str(t), int(p)): int(at) for t, p, at in held["positions"]}
        except (ValueError, KeyError, TypeError, AttributeError):
            return

    def start(self, at: Key) -> int | None:
        """Before which offset nothing of this source partition is to be copied; None if nobody has said so."""
        return self.starts.get(at[0], {}).get(at[1])

    def former(self, group: str, at: Key) -> int | None:
        """Where the group stood in this target partition when the direction was turned; None if it didn't, or never."""
        return self.groups.get(group, {}).get(at)


def encode_cuts(cuts: Mapping[str, ByPartition | None]) -> list[KeyValue]:
    """The records of where copies of these source topics end; None takes it back."""
    return [_record(_CUT, topic, offsets) for topic, offsets in cuts.items()]


def encode_starts(starts: Mapping[str, ByPartition]) -> list[KeyValue]:
    """The records of where these source topics begin."""
    return [_record(_START, topic, offsets) for topic, offsets in starts.items()]


def encode_former(groups: Mapping[str, Mapping[Key, int]], before: Iterable[str] = ()) -> list[KeyValue]:
    """The records of where these groups stand; what was said of those in `before` alone is taken back."""
    pairs: list[KeyValue] = [(_FORMER + group.encode(), None) for group in before if group not in groups]
    for group, positions in groups.items():
        held = {"version": _VERSION, "positions": [[*at, offset] for at, offset in sorted(positions.items())]}
        pairs.append((_FORMER + group.encode(), json.dumps(held, separators=(",", ":")).encode()))
    return pairs


def _record(prefix: bytes, topic: str, offsets: ByPartition | None) -> KeyValue:
    if offsets is None:
        return prefix + topic.encode(), None
    held = {"version": _VERSION, "offsets": {str(partition): offset for partition, offset in sorted(offsets.items())}}
    return prefix + topic.encode(), json.dumps(held, separators=(",", ":")).encode()
