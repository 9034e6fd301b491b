"""Reads groups and positions back from `__consumer_offsets`, for a coordinator that starts."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field

from broker.groups import consumer_records, records
from broker.groups.consumer_records import ConsumerKey, GroupSnapshot
from broker.groups.internal_topic import CoordinatorLog, Entry
from broker.groups.offset_store import OffsetStore
from broker.groups.records import GroupKey, OffsetKey, StoredGroup

log = logging.getLogger(__name__)


@dataclass(slots=True)
class StoredGroups:
    """What was read back of groups, by id. A group is in one of the two at most."""

    classic: dict[str, StoredGroup] = field(default_factory=dict)
    consumer: dict[str, GroupSnapshot] = field(default_factory=dict)


def replay(offsets_log: CoordinatorLog, offsets: OffsetStore) -> StoredGroups:
    """The groups in the log; its positions go to `offsets`. Records that can't be read are passed over, and logged."""
    stored = StoredGroups()
    for partition in offsets_log.partitions():
        for entry in offsets_log.replay(partition):
            try:
                _apply(partition, entry, stored, offsets)
            except (ValueError, UnicodeDecodeError) as error:
                log.warning("skipping record %d of %s-%d: %s", entry.offset, offsets_log.topic, partition, error)
    return stored


def _apply(partition: int, entry: Entry, stored: StoredGroups, offsets: OffsetStore) -> None:
    if entry.ends_transaction is not None:
        offsets.end_transaction(partition, entry.producer_id, commit=entry.ends_transaction)
        return
    key = records.decode_key(entry.key or b"")
    if isinstance(key, OffsetKey):
        _apply_offset(partition, key, entry, offsets)
    elif not isinstance(key, GroupKey):
        _apply_consumer(consumer_records.decode_key(entry.key or b""), entry.value, stored)
    elif entry.value is None:
        stored.classic.pop(key.group_id, None)
    else:
        stored.classic[key.group_id] = records.decode_group(entry.value)


def _apply_offset(partition: int, key: OffsetKey, entry: Entry, offsets: OffsetStore) -> None:
    if entry.value is None:
        offsets.remove(key)
    elif entry.transactional_producer is None:
        offsets.put(key, records.decode_offset(entry.value, entry.offset))
    else:
        value = records.decode_offset(entry.value, entry.offset)
        offsets.put_pending(partition, entry.transactional_producer, key, value)


def _apply_consumer(key: ConsumerKey | None, value: bytes | None, stored: StoredGroups) -> None:
    if key is None:
        return
    if key.kind == consumer_records.GROUP and value is None:
        stored.consumer.pop(key.group_id, None)
    elif value is not None or key.group_id in stored.consumer:
        snapshot = stored.consumer.get(key.group_id, GroupSnapshot())
        stored.consumer[key.group_id] = consumer_records.apply(snapshot, key, value)
