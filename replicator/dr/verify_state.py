"""How far a verification has got, in a file, so that one that was interrupted, or killed, goes on where it was.

What is compared is fixed by the first call. Kept are the reports of partitions that are done, and of the one under way
the last end of a segment before its first difference: from there on it is compared anew.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

from replicator.dr.compare import Checkpoint
from replicator.dr.report import PartitionReport
from replicator.errors import ConfigurationError, WrongStateError

_VERSION = 1
_SAVE_EVERY_S = 2.0


class _Under(BaseModel):
    model_config = ConfigDict(frozen=True)

    topic: str
    partition: int
    source_start: int  # where the comparison began
    target_start: int
    source_next: int
    target_next: int
    records: int
    folded: str
    notes: tuple[str, ...] = ()


class _Saved(BaseModel):
    version: int = _VERSION
    what: str
    started: str
    positions: list[tuple[str, int, int, int]] | None
    done: list[PartitionReport] = []
    under_way: _Under | None = None


class VerifyState:
    """The file's content. A new file begins a verification, one that is there goes on with its own."""

    def __init__(self, file: Path, now: Callable[[], float] = time.monotonic) -> None:
        self._file = file
        self._now = now
        self._saved_at = -_SAVE_EVERY_S
        self._saved: _Saved | None = None
        self._reports: dict[tuple[str, int], PartitionReport] = {}  # of earlier calls
        if not file.exists():
            return
        try:
            self._saved = _Saved.model_validate_json(file.read_bytes())
        except (ValidationError, OSError) as error:
            raise ConfigurationError(f"{file} isn't the state of a verification: {error}") from error
        if self._saved.version != _VERSION:
            raise ConfigurationError(f"{file} was written by another version of Replicator: delete it to begin anew")
        self._reports = {(report.topic, report.partition): report for report in self._saved.done}

    def begin(
        self, what: str, started: str, positions: Mapping[tuple[str, int], tuple[int, int]] | None
    ) -> tuple[str, Mapping[tuple[str, int], tuple[int, int]] | None]:
        """When it began, and which positions are compared up to: these, or those of the call that began.

        WrongStateError if the file is of a verification of something else.
        """
        if self._saved is None:
            rows = None if positions is None else [(*place, *at) for place, at in positions.items()]
            self._saved = _Saved(what=what, started=started, positions=rows)
            self._write()
        elif self._saved.what != what:
            raise WrongStateError(
                f"{self._file} is of another verification ({self._saved.what}), this one is {what}: name another file"
            )
        saved = self._saved.positions
        return self._saved.started, None if saved is None else {(t, p): (s, n) for t, p, s, n in saved}

    def done(self, topic: str, partition: int) -> PartitionReport | None:
        """Its report, if an earlier call came to its end."""
        return self._reports.get((topic, partition))

    def since(self, topic: str, partition: int, source_start: int, target_start: int) -> Checkpoint | None:
        """Where to go on in this partition; None: at its start. What a log has lost meanwhile is compared anew."""
        at = self._content.under_way
        if at is None or (at.topic, at.partition) != (topic, partition):
            return None
        if at.source_next < source_start or at.target_next < target_start:
            return None
        return Checkpoint(at.source_next, at.target_next, at.records, bytes.fromhex(at.folded))

    def begun_at(self, topic: str, partition: int) -> tuple[int, int, tuple[str, ...]]:
        """Of a partition that `since` goes on with: both offsets where its comparison began, and what was noted."""
        at = self._content.under_way
        assert at is not None
        return at.source_start, at.target_start, at.notes

    def reached(
        self, topic: str, partition: int, begun: tuple[int, int], notes: tuple[str, ...], at: Checkpoint
    ) -> None:
        """It has got so far; written down every few seconds."""
        self._content.under_way = _Under(
            topic=topic,
            partition=partition,
            source_start=begun[0],
            target_start=begun[1],
            source_next=at.source_next,
            target_next=at.target_next,
            records=at.records,
            folded=at.folded.hex(),
            notes=notes,
        )
        if self._now() - self._saved_at >= _SAVE_EVERY_S:
            self._write()

    def finished(self, report: PartitionReport) -> None:
        """This partition is compared."""
        self._content.done.append(report)
        self._content.under_way = None
        if self._now() - self._saved_at >= _SAVE_EVERY_S:
            self._write()

    def forget(self) -> None:
        """All is done: the file goes."""
        self._file.unlink(missing_ok=True)

    @property
    def _content(self) -> _Saved:
        assert self._saved is not None, "begin() comes first"
        return self._saved

    def _write(self) -> None:
        self._saved_at = self._now()
        new = self._file.with_name(f"{self._file.name}.new")
        with new.open("w") as file:
            file.write(self._content.model_dump_json())
            file.flush()
            os.fsync(file.fileno())
        new.replace(self._file)
