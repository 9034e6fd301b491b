"""Opening a log that may have been left in any state, and leaving it so that opening is quick."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from broker.storage.batch import HEADER_SIZE, BatchHeader, Buffer, read_marker, read_records
from broker.storage.producers import ProducerStates
from broker.storage.segment import Segment

if TYPE_CHECKING:
    from broker.storage.log import PartitionLog

log = logging.getLogger(__name__)

CLEAN = "clean-shutdown"


def replay_batch(states: ProducerStates, header: BatchHeader, data: Buffer, base_offset: int) -> None:
    """Let the producer states know of a batch that stands in the log at `base_offset`."""
    if header.producer_id < 0:
        return
    if not header.is_control:
        states.apply_data(header, base_offset)
        return
    for record in read_records(memoryview(data)[HEADER_SIZE:], header.record_count):
        kind, coordinator_epoch = read_marker(record)
        if kind in (0, 1):
            offset = base_offset + record.offset_delta
            states.apply_marker(
                header.producer_id, header.producer_epoch, coordinator_epoch, kind == 1, offset, header.max_timestamp
            )


def load(target: PartitionLog) -> None:
    """Fill a fresh PartitionLog from its directory.

    After an unclean stop the last segment is walked with checksums and cut at the first batch that isn't whole;
    segments behind a cut are dropped, so that the log is a prefix of what was written.
    """
    files, directory = target.files, target.directory
    names = files.names(directory)
    clean = files.read_all(f"{directory}/{CLEAN}") is not None
    files.delete(f"{directory}/{CLEAN}")
    start_text = files.read_all(f"{directory}/log-start-offset")
    start = int(start_text) if start_text else 0
    for name in names:
        if name.endswith(".cleaned"):
            files.delete(f"{directory}/{name}")
    bases = sorted(int(name.removesuffix(".log")) for name in names if name.endswith(".log"))
    headers: list[BatchHeader] = []
    for number, base in enumerate(bases):
        segment = Segment(files, directory, base)
        before = segment.file.size
        headers.extend(segment.recover(check=not clean))
        target.segments.append(segment)
        if segment.size < before:
            log.warning("cut %d bytes of a torn or corrupt tail off %s", before - segment.size, segment.name)
            for later in bases[number + 1 :]:
                Segment(files, directory, later).delete()
            break
    if not target.segments:
        target.segments.append(Segment(files, directory, start))
    target._log_start_offset = max(start, target.segments[0].base_offset)
    for header in headers:
        target.leader_epochs.assign(header.leader_epoch, header.base_offset)
    target.leader_epoch = max(target.leader_epochs.latest, 0)
    for segment in target.segments:
        segment.created_ms = int(segment.max_timestamps[0]) if len(segment) and segment.max_timestamps[0] >= 0 else None
    target._high_watermark = target.log_end_offset
    target.leader_epochs.truncate_start(target._log_start_offset)
    _load_producers(target, names)


def _load_producers(target: PartitionLog, names: list[str]) -> None:
    # The newest snapshot that the log reaches, then whatever was appended behind it.
    offsets = sorted(
        (int(name.removesuffix(".snapshot")) for name in names if name.endswith(".snapshot")), reverse=True
    )
    replay_from = 0
    for offset in offsets:
        path = f"{target.directory}/{offset:020d}.snapshot"
        content = target.files.read_all(path)
        if offset > target.log_end_offset or content is None:
            target.files.delete(path)
            continue
        try:
            target.producer_states = ProducerStates.restore(content)
        except (ValueError, KeyError, TypeError) as error:
            log.warning("ignoring damaged producer snapshot %s: %s", path, error)
            target.files.delete(path)
            continue
        replay_from = offset
        break
    for header, data in target.batches(replay_from):
        if header.base_offset >= replay_from:
            replay_batch(target.producer_states, header, data, header.base_offset)
    target.producer_states.forget_below(target.log_start_offset)


def clean_stop(target: PartitionLog) -> None:
    """Sync, write the producers' snapshot and a mark that says no recovery is needed."""
    for segment in target.segments[-1:]:
        segment.file.sync()
    for name in target.files.names(target.directory):
        if name.endswith(".snapshot"):
            target.files.delete(f"{target.directory}/{name}")
    if target.producer_states.entries or target.producer_states.aborted:
        path = f"{target.directory}/{target.log_end_offset:020d}.snapshot"
        target.files.write_all(path, target.producer_states.snapshot(), sync=False)
    target.files.write_all(f"{target.directory}/{CLEAN}", b"", sync=False)
