"""The states of a partition, and the reasons for which one doesn't copy (design section 10)."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

from replicator.errors import ReplicatorError


class State(StrEnum):
    """What a partition is doing. Lag 0 is shown as lag 0; it isn't a state."""

    PENDING = "PENDING"
    COPYING = "COPYING"
    PAUSED = "PAUSED"
    FAULTED = "FAULTED"
    PROMOTED = "PROMOTED"
    FAILED_OVER = "FAILED_OVER"
    ASLEEP = "ASLEEP"  # of a link's way back, before `reverse`: never of a partition that has an entry


class Way(StrEnum):
    """How a partition's batches are written under `exactly_once` (design section 6)."""

    TRANSACTIONS = "transactions"  # in a transaction of the lane, together with the ledger entry
    FENCED = "fenced"  # plainly; the sequences in the target's tail tell a new owner what was written since the entry


class Reason(StrEnum):
    """Why a partition (or a whole topic) isn't copied as it should be."""

    SOURCE_UNREACHABLE = "SOURCE_UNREACHABLE"
    TARGET_UNREACHABLE = "TARGET_UNREACHABLE"
    NOT_AUTHORIZED = "NOT_AUTHORIZED"
    RECORD_TOO_LARGE = "RECORD_TOO_LARGE"
    CORRUPT_BATCH = "CORRUPT_BATCH"
    RETENTION_OVERRUN = "RETENTION_OVERRUN"
    SOURCE_TRUNCATED = "SOURCE_TRUNCATED"
    SOURCE_RECREATED = "SOURCE_RECREATED"
    SOURCE_MISSING = "SOURCE_MISSING"
    TARGET_TRUNCATED = "TARGET_TRUNCATED"
    TARGET_RECREATED = "TARGET_RECREATED"
    TARGET_MISSING = "TARGET_MISSING"
    RECORD_REFUSED = "RECORD_REFUSED"
    FOREIGN_WRITER = "FOREIGN_WRITER"
    RECOVERY_AMBIGUOUS = "RECOVERY_AMBIGUOUS"
    UNSUPPORTED_FORMAT = "UNSUPPORTED_FORMAT"
    TOPIC_NAME_INVALID = "TOPIC_NAME_INVALID"
    TOPIC_REFUSED = "TOPIC_REFUSED"
    LEDGER_UNREADABLE = "LEDGER_UNREADABLE"
    INTERNAL_ERROR = "INTERNAL_ERROR"
    UNKNOWN = "UNKNOWN"

    @property
    def text(self) -> str:
        """One sentence for people: what is the matter."""
        return _FACTS[self].text

    @property
    def next_step(self) -> str:
        """One sentence for people: what to do, and with which command."""
        return _FACTS[self].next_step

    @property
    def heals(self) -> bool:
        """Whether trying again is safe and may succeed: nothing is skipped by it. The others wait for a person."""
        return _FACTS[self].heals


class _Facts(NamedTuple):
    heals: bool
    text: str
    next_step: str


_ACCEPT_GAP = "accept the gap with `replicator resume --accept-gap`."
_WAIT_OR_CHECK = "Wait, if the cluster is known to be down: copying goes on when it is back; or run `replicator check`."

_FACTS = {
    Reason.SOURCE_UNREACHABLE: _Facts(
        True,
        "The source cluster can't be reached.",
        _WAIT_OR_CHECK,
    ),
    Reason.TARGET_UNREACHABLE: _Facts(
        True,
        "The target cluster can't be reached.",
        _WAIT_OR_CHECK,
    ),
    Reason.NOT_AUTHORIZED: _Facts(
        True,
        "The principal isn't allowed to do what this partition needs.",
        "Grant the operation on the resource named here, or exclude the topic; copying goes on by itself once granted.",
    ),
    Reason.RECORD_TOO_LARGE: _Facts(
        True,
        "A record is larger than the target accepts.",
        "Raise max.message.bytes of the target topic above the size named here; copying goes on by itself.",
    ),
    Reason.CORRUPT_BATCH: _Facts(
        True,
        "The source returned a batch whose checksum is wrong.",
        "Check the disk of the source partition's leader and move leadership to an intact replica; "
        "copying goes on by itself.",
    ),
    Reason.RETENTION_OVERRUN: _Facts(
        False,
        "The source deleted records before they were copied.",
        "Lengthen the source's retention so that it can't happen again, then restore the records from elsewhere, or "
        + _ACCEPT_GAP,
    ),
    Reason.SOURCE_TRUNCATED: _Facts(
        False,
        "The source lost records that had been copied (an unclean leader election).",
        "Compare both sides with `replicator verify`; to keep what the target has and go on, " + _ACCEPT_GAP,
    ),
    Reason.SOURCE_RECREATED: _Facts(
        False,
        "The source topic was deleted and created again: it is another topic under the same name.",
        "Delete the target topic to have the new one copied from its start, or exclude the topic, or " + _ACCEPT_GAP,
    ),
    Reason.SOURCE_MISSING: _Facts(
        True,
        "The source topic doesn't exist any more.",
        "Nothing, if it was deleted on purpose: its copy stays on the target; exclude the topic to silence this.",
    ),
    Reason.TARGET_TRUNCATED: _Facts(
        False,
        "The target lost records that it had acknowledged (an unclean leader election).",
        "Find out what is missing with `replicator verify`, restore the records from elsewhere, or " + _ACCEPT_GAP,
    ),
    Reason.TARGET_RECREATED: _Facts(
        False,
        "The target topic was deleted and created again: what had been copied is gone.",
        "Have it copied again from the start under a new link, or " + _ACCEPT_GAP,
    ),
    Reason.TARGET_MISSING: _Facts(
        True,
        "The target topic was deleted, and what had been copied with it.",
        "Exclude the topic if that was intended; otherwise have it copied again from the start under a new link.",
    ),
    Reason.RECORD_REFUSED: _Facts(
        True,
        "The target refuses a record.",
        "Change the target topic's setting named here so that it accepts the record; copying goes on by itself.",
    ),
    Reason.FOREIGN_WRITER: _Facts(
        False,
        "Somebody else writes to the target topic.",
        "Stop the other writer (grant Write on the target topic to the replicator alone), then restart the partition.",
    ),
    Reason.RECOVERY_AMBIGUOUS: _Facts(
        False,
        "It can't be told with certainty which records had been copied before the crash.",
        "Compare both sides with `replicator verify`. `replicator resume --accept-gap` goes on behind the last record "
        "that is known to be copied: those that may be there already are copied once more.",
    ),
    Reason.UNSUPPORTED_FORMAT: _Facts(
        False,
        "The source holds a batch in a format that can't be read.",
        "Have the topic rewritten by a newer producer, or exclude it.",
    ),
    Reason.TOPIC_NAME_INVALID: _Facts(
        True,
        "The target can't have a topic of the name that the copy would get.",
        "Exclude the topic, or choose another alias, separator or naming so that the name fits.",
    ),
    Reason.TOPIC_REFUSED: _Facts(
        True,
        "The target refuses to create or to grow the topic.",
        "Change what the target's answer names (a create policy, replication factor, quota), or exclude the topic; "
        "it is tried again by itself.",
    ),
    Reason.LEDGER_UNREADABLE: _Facts(
        True,
        "The link's ledger holds what this version of Replicator can't read.",
        "Upgrade this Replicator to the newest version that any worker of the link has run; if this is the newest, the "
        "ledger is damaged: restore its topic. Nothing is copied from a position that isn't known.",
    ),
    Reason.INTERNAL_ERROR: _Facts(
        True,
        "Replicator itself failed; it tries again from the last position written.",
        "If it comes back, report it with the log lines of this partition.",
    ),
    Reason.UNKNOWN: _Facts(
        False,
        "A newer version of Replicator stopped this partition for a reason that this version doesn't know.",
        "Upgrade this worker, and read the detail.",
    ),
}


class PartitionFault(ReplicatorError):
    """Stops one partition, for a typed reason. `detail` is shown as it is: which offsets, sizes, names."""

    def __init__(
        self, reason: Reason, detail: str, *, topic: str = "", partition: int = -1, offset: int | None = None
    ) -> None:
        self.reason = reason
        self.detail = detail
        self.topic = topic
        self.partition = partition
        self.offset = offset
        super().__init__(detail)

    @property
    def retriable(self) -> bool:  # type: ignore[override]
        """Whether the partition tries again by itself."""
        return self.reason.heals

    def __str__(self) -> str:
        where = f"{self.topic}-{self.partition}" if self.topic else ""
        if where and self.offset is not None:
            where += f" at offset {self.offset}"
        parts = [f"{where}: {self.reason.value}" if where else self.reason.value, self.reason.text, self.detail]
        return " ".join(part for part in [*parts, self.reason.next_step] if part)
