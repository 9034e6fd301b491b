"""What `replicator verify` found, ready for text and JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, computed_field

DifferenceKind = Literal["missing", "unexpected", "duplicate", "reordered", "changed"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True)


class Difference(_Model):
    """One difference, with the offsets it was found at (-1: not on that side)."""

    kind: DifferenceKind
    source_offset: int
    target_offset: int
    fields: tuple[str, ...] = ()  # of a changed record: key, value, headers, timestamp
    detail: str = ""


class PartitionReport(_Model):
    """One partition: what was compared, and what differs. Offset ranges are half open; -1 is unknown."""

    topic: str
    partition: int
    target_topic: str
    source_start: int
    source_end: int
    target_start: int
    target_end: int
    uncopied: int = 0  # offsets from source_end to the source's end when the call began: lag, not a difference
    records: int = 0  # equal on both sides
    missing: int = 0  # on the source only
    unexpected: int = 0  # on the target only
    duplicates: int = 0  # on the target again
    reordered: int = 0  # on both sides, elsewhere in the order
    changed: int = 0  # in the same place, not equal
    compacted: int = 0  # on one side only because the other one has been compacted meanwhile
    differences: tuple[Difference, ...] = ()  # the first ones
    notes: tuple[str, ...] = ()  # what was not compared, and why
    source_checksum: str = ""  # of all that was compared, as `replicator.dr.checksum` makes it; "" of nothing
    target_checksum: str = ""
    complete: bool = True  # False: given up after too many differences

    @computed_field  # type: ignore[prop-decorator]
    @property
    def found(self) -> int:
        """How many differences of any kind."""
        return self.missing + self.unexpected + self.duplicates + self.reordered + self.changed

    @computed_field  # type: ignore[prop-decorator]
    @property
    def ok(self) -> bool:
        """No difference of any kind."""
        return self.found == 0 and self.complete


class VerifyReport(_Model):
    """The whole comparison. `ok` is the answer: every record of every range is there, once, in order, and equal."""

    link: str
    source: str = ""  # the clusters' names, and what they call themselves
    source_id: str = ""
    target: str = ""
    target_id: str = ""
    what: str = ""  # as it was asked for
    by: str = ""
    version: str = ""  # of Replicator
    ok: bool
    started: str  # ISO 8601
    finished: str = ""
    seconds: float
    records: int
    differences: int
    uncopied: int
    partitions: tuple[PartitionReport, ...]
