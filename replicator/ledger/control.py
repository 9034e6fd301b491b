"""Commands to a running link, in its control topic: written by the CLI, carried out by the owners of the lanes.

A command names what it was given for (partition, state, since when), so that carrying it out twice, late, or by several
workers does nothing more: what has changed meanwhile isn't touched.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from uuid import UUID

from replicator.ledger.codec import LedgerFormatError
from replicator.states import Reason

ACCEPT_GAP = "accept-gap"
MAX_BYTES = 900_000  # below a topic's default max.message.bytes
_VERSION = 1
# Faults that an operator may decide to go on behind:
ACCEPTABLE = frozenset(
    {
        Reason.RETENTION_OVERRUN,
        Reason.SOURCE_TRUNCATED,
        Reason.SOURCE_RECREATED,
        Reason.TARGET_TRUNCATED,
        Reason.TARGET_RECREATED,
        Reason.FOREIGN_WRITER,
        Reason.RECOVERY_AMBIGUOUS,
    }
)


@dataclass(frozen=True, slots=True)
class FaultedPartition:
    """A fault as somebody saw it: `since_ms` and `reason` tell it from later ones."""

    topic: str
    partition: int
    reason: Reason
    since_ms: int


@dataclass(frozen=True, slots=True)
class AcceptGap:
    """Go on behind the gaps of these partitions."""

    id: UUID
    by: str
    at_ms: int
    partitions: tuple[FaultedPartition, ...]


def encode_command(command: AcceptGap) -> tuple[bytes, bytes]:
    """Key and value for the control topic; ValueError if the value would be larger than MAX_BYTES."""
    value = json.dumps(
        {
            "version": _VERSION,
            "command": ACCEPT_GAP,
            "by": command.by,
            "at_ms": command.at_ms,
            "partitions": [[p.topic, p.partition, p.reason.value, p.since_ms] for p in command.partitions],
        },
        separators=(",", ":"),
    ).encode()
    if len(value) > MAX_BYTES:
        raise ValueError(f"a command of {len(value)} bytes; name fewer partitions")
    return f"command/{command.id}".encode(), value


def decode_command(key: bytes | None, value: bytes | None) -> AcceptGap | None:
    """The command of a control record; None for other records. LedgerFormatError for what can't be read."""
    if not key or not key.startswith(b"command/") or value is None:
        return None
    try:
        held = json.loads(value)
        if held["version"] != _VERSION or held["command"] != ACCEPT_GAP:
            raise LedgerFormatError(
                f"command {held['command']!r} of version {held['version']} isn't known to this Replicator; upgrade it"
            )
        partitions = tuple(FaultedPartition(t, int(p), Reason(r), int(s)) for t, p, r, s in held["partitions"])
        return AcceptGap(UUID(key.decode().removeprefix("command/")), str(held["by"]), int(held["at_ms"]), partitions)
    except (ValueError, KeyError, TypeError) as error:
        raise LedgerFormatError(f"control record {key!r} can't be read: {error}") from error
