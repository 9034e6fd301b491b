"""The group coordinator: classic and consumer groups and committed positions, kept in `__consumer_offsets`.

One object serves the whole cluster, because its nodes share one process. A node answers for a group only while it
leads the group's partition of the offsets topic; the others say NOT_COORDINATOR, as they do in Kafka.

A group is classic or (KIP-848) a consumer group. One without members becomes the other kind when somebody joins it the
other way; its positions stay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from kio.schema.errors import ErrorCode

from broker.clock import Clock
from broker.errors import KafkaError
from broker.groups import records
from broker.groups.classic_group import ClassicGroup
from broker.groups.classic_state import GroupSettings, GroupState
from broker.groups.consumer_group import ConsumerGroup, ConsumerSettings
from broker.groups.consumer_heartbeat import ConsumerHeartbeat, HeartbeatResult, check_request
from broker.groups.consumer_member import JOINING, LEAVING, LEAVING_FOR_A_WHILE
from broker.groups.consumer_records import GroupSnapshot
from broker.groups.consumer_topics import NoTopics, TopicsView
from broker.groups.internal_topic import CoordinatorLog, Pair
from broker.groups.loading import replay
from broker.groups.member import JoinRequest, JoinResult, Member, SyncResult
from broker.groups.offset_store import OffsetStore, Positions
from broker.groups.records import CommittedOffset, OffsetKey
from broker.groups.timers import Timers

DEFAULT_RETENTION = -1
FIRST_WITH_NOT_FOUND = 9

Group = ClassicGroup | ConsumerGroup


@dataclass(frozen=True, slots=True)
class OffsetSettings:
    """The broker's `offset*` properties."""

    metadata_max_bytes: int = 4096
    retention_ms: int = 7 * 24 * 60 * 60 * 1000


@dataclass(frozen=True, slots=True)
class Commit:
    """One position that a client wants to commit."""

    topic: str
    partition: int
    offset: int
    leader_epoch: int = -1
    metadata: str = ""


@dataclass(frozen=True, slots=True)
class Committer:
    """Who commits: the consumer's credentials, empty for a simple consumer or an administrator."""

    member_id: str = ""
    group_instance_id: str | None = None
    generation: int = -1


class GroupCoordinator:
    """Groups by id. Settings are read anew each time, because brokers' configs can change while they run."""

    def __init__(
        self,
        *,
        clock: Clock,
        timers: Timers,
        offsets_log: CoordinatorLog,
        group_settings: Callable[[], GroupSettings],
        offset_settings: Callable[[], OffsetSettings],
        consumer_settings: Callable[[str], ConsumerSettings] = lambda _: ConsumerSettings(),
        topics: TopicsView | None = None,
        is_suspended: Callable[[str], bool] = lambda _: False,
    ) -> None:
        self.groups: dict[str, Group] = {}
        self.offsets = OffsetStore()
        self.log = offsets_log
        self._clock = clock
        self._timers = timers
        self._group_settings = group_settings
        self._offset_settings = offset_settings
        self._consumer_settings = consumer_settings
        self._topics = topics or NoTopics()
        self._is_suspended = is_suspended

    # --- membership --------------------------------------------------------------------------------------------------

    async def join(self, group_id: str, request: JoinRequest) -> JoinResult:
        """JoinGroup: returns when the round is complete or the request is refused."""
        settings = self._group_settings()
        if not settings.min_session_timeout_ms <= request.session_timeout_ms <= settings.max_session_timeout_ms:
            return JoinResult(ErrorCode.invalid_session_timeout, request.member_id)
        group = self.groups.get(group_id)
        if isinstance(group, ConsumerGroup) and not group.is_empty:
            return JoinResult(ErrorCode.inconsistent_group_protocol, request.member_id)
        if not isinstance(group, ClassicGroup):
            if request.member_id:
                return JoinResult(ErrorCode.unknown_member_id, request.member_id)
            if group is not None:
                self._forget_group(group)
            group = self._create(group_id)
        return await group.join(request)

    async def sync(
        self,
        group_id: str,
        member_id: str,
        group_instance_id: str | None,
        generation: int,
        protocol_type: str | None,
        protocol_name: str | None,
        assignments: Mapping[str, bytes],
    ) -> SyncResult:
        """SyncGroup: returns when the leader's assignment is there or the request is refused."""
        group = self.groups.get(group_id)
        if not isinstance(group, ClassicGroup) or group.state is GroupState.EMPTY:
            return SyncResult(ErrorCode.unknown_member_id)
        return await group.sync(member_id, group_instance_id, generation, protocol_type, protocol_name, assignments)

    def heartbeat(self, group_id: str, member_id: str, group_instance_id: str | None, generation: int) -> None:
        """Heartbeat: raises KafkaError with what the member has to know."""
        group = self.groups.get(group_id)
        if not isinstance(group, ClassicGroup):
            raise KafkaError(ErrorCode.unknown_member_id)
        group.heartbeat(member_id, group_instance_id, generation)

    def leave(self, group_id: str, members: Sequence[tuple[str, str | None]]) -> list[ErrorCode]:
        """LeaveGroup: one code for each `(member id, instance id)`."""
        group = self.groups.get(group_id)
        if group is None:
            return [ErrorCode.unknown_member_id] * len(members)
        return group.remove(members) if isinstance(group, ConsumerGroup) else group.leave(members)

    def consumer_heartbeat(self, request: ConsumerHeartbeat, api_version: int) -> HeartbeatResult:
        """ConsumerGroupHeartbeat: join, stay, or leave. Raises KafkaError."""
        check_request(request, api_version, self._consumer_settings(request.group_id).assignors)
        if request.member_epoch in (LEAVING, LEAVING_FOR_A_WHILE):
            return self.consumer_group(request.group_id).leave(request)
        group = self.groups.get(request.group_id)
        replaced = group is None or (isinstance(group, ClassicGroup) and group.is_empty)
        if group is None and request.member_epoch != JOINING:
            raise KafkaError(ErrorCode.group_id_not_found, f"Consumer group {request.group_id} not found.")
        if not replaced or request.member_epoch != JOINING:
            return self.consumer_group(request.group_id).heartbeat(request)
        prefix = [] if group is None else self._tombstones(group)
        new = self._create_consumer(request.group_id, prefix=prefix)
        result = new.heartbeat(request)
        if group is not None:
            group.die()
        self.groups[request.group_id] = new
        return result

    def consumer_group(self, group_id: str) -> ConsumerGroup:
        """The consumer group of this id. Raises KafkaError GROUP_ID_NOT_FOUND."""
        group = self.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.group_id_not_found, f"Group {group_id} not found.")
        if not isinstance(group, ConsumerGroup):
            raise KafkaError(ErrorCode.group_id_not_found, f"Group {group_id} is not a consumer group.")
        return group

    def classic_group(self, group_id: str) -> ClassicGroup:
        """The classic group of this id. Raises KafkaError GROUP_ID_NOT_FOUND."""
        group = self.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.group_id_not_found, f"Group {group_id} not found.")
        if not isinstance(group, ClassicGroup):
            raise KafkaError(ErrorCode.group_id_not_found, f"Group {group_id} is not a classic group.")
        return group

    # --- positions ---------------------------------------------------------------------------------------------------

    def commit(
        self,
        group_id: str,
        committer: Committer,
        commits: Sequence[Commit],
        *,
        retention_ms: int = DEFAULT_RETENTION,
        api_version: int = 9,
    ) -> list[ErrorCode]:
        """OffsetCommit: one code for each position. Raises KafkaError when the whole request is refused.

        From version 9 on a member of a group that doesn't exist is told so.
        """
        missing = ErrorCode.group_id_not_found if api_version >= FIRST_WITH_NOT_FOUND else ErrorCode.illegal_generation
        group = self._group_of_commit(group_id, committer, missing)
        group.validate_offset_commit(
            committer.member_id,
            committer.group_instance_id,
            committer.generation,
            transactional=False,
            api_version=api_version,
        )
        group.extend_session(committer.member_id)
        now = self._clock.now_ms()
        expiry = None if retention_ms == DEFAULT_RETENTION else now + retention_ms
        return self._write_commits(group_id, commits, now, expiry)

    def commit_in_transaction(
        self, group_id: str, committer: Committer, producer_id: int, producer_epoch: int, commits: Sequence[Commit]
    ) -> list[ErrorCode]:
        """TxnOffsetCommit: as `commit`, but the positions count only once the transaction commits."""
        group = self._group_of_commit(group_id, committer, ErrorCode.illegal_generation)
        group.validate_offset_commit(
            committer.member_id,
            committer.group_instance_id,
            committer.generation,
            transactional=True,
            api_version=FIRST_WITH_NOT_FOUND,
        )
        return self._write_commits(
            group_id, commits, self._clock.now_ms(), None, producer=(producer_id, producer_epoch)
        )

    def positions(self, group_id: str, member_id: str | None = None, member_epoch: int = -1) -> Positions:
        """OffsetFetch: what the group has committed, nothing if there is no such group.

        Raises KafkaError UNKNOWN_MEMBER_ID or STALE_MEMBER_EPOCH to a member of a consumer group that isn't, or isn't
        up to date.
        """
        group = self.groups.get(group_id)
        if group is not None:
            group.validate_offset_fetch(member_id, member_epoch)
        return self.offsets.positions(group_id)

    def end_transaction(self, log_partition: int, producer_id: int, *, commit: bool) -> None:
        """A marker of this producer was written to a partition of the offsets topic."""
        self.offsets.end_transaction(log_partition, producer_id, commit=commit)

    def delete_offsets(self, group_id: str, partitions: Iterable[tuple[str, int]]) -> list[ErrorCode]:
        """OffsetDelete: one code for each partition. Raises KafkaError when the whole request is refused."""
        group = self.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.group_id_not_found)
        group.validate_offset_delete()
        codes = []
        doomed = []
        for topic, partition in partitions:
            if group.is_subscribed_to(topic):
                codes.append(ErrorCode.group_subscribed_to_topic)
                continue
            codes.append(ErrorCode.none)
            if (topic, partition) in self.offsets.positions(group_id) or self.offsets.is_pending(
                group_id, topic, partition
            ):
                doomed.append(OffsetKey(group_id, topic, partition))
        self._delete_positions(group_id, doomed)
        return codes

    def forget_topic(self, topic: str) -> None:
        """A topic was deleted: positions in it go too."""
        by_group: dict[str, list[OffsetKey]] = {}
        for key in self.offsets.keys_of_topics([topic]):
            by_group.setdefault(key.group_id, []).append(key)
        for group_id, keys in by_group.items():
            self._delete_positions(group_id, keys)

    # --- administration ----------------------------------------------------------------------------------------------

    def delete_group(self, group_id: str) -> None:
        """DeleteGroups: remove an empty group and its positions. Raises KafkaError when that isn't possible."""
        group = self.groups.get(group_id)
        if group is None:
            raise KafkaError(ErrorCode.group_id_not_found)
        if not group.is_empty:
            raise KafkaError(ErrorCode.non_empty_group)
        self._delete_group(group)

    def expire_offsets(self) -> None:
        """Delete positions past their retention, and groups that have nothing left (`offsets.retention.minutes`)."""
        now = self._clock.now_ms()
        retention_ms = self._offset_settings().retention_ms
        for group_id in list(self.groups):
            group = self.groups[group_id]
            expired = [
                OffsetKey(group_id, topic, partition)
                for (topic, partition), value in self.offsets.positions(group_id).items()
                if self._is_expired(group, topic, value, now, retention_ms)
                and not self.offsets.is_pending(group_id, topic, partition)
            ]
            self._delete_positions(group_id, expired)
            if group.is_deserted and not self.offsets.positions(group_id) and not self.offsets.has_pending(group_id):
                self._delete_group(group)

    # --- start and stop ----------------------------------------------------------------------------------------------

    def load(self) -> None:
        """Rebuild groups and positions from what the offsets topic holds. Call once, before serving."""
        stored = replay(self.log, self.offsets)
        for group_id, group in stored.classic.items():
            self._restore(group_id, group)
        for group_id, snapshot in stored.consumer.items():
            self.groups[group_id] = self._create_consumer(group_id, snapshot)
        for group_id in self.offsets.groups():
            if group_id not in self.groups:
                self._create(group_id)

    def unload(self, group_ids: Iterable[str]) -> None:
        """The node that coordinated these groups is gone: parked requests end, members keep their sessions."""
        for group_id in group_ids:
            group = self.groups.get(group_id)
            if group is not None:
                group.interrupt(ErrorCode.not_coordinator)

    # --- internals ---------------------------------------------------------------------------------------------------

    def _create(self, group_id: str) -> ClassicGroup:
        group = ClassicGroup(
            group_id,
            clock=self._clock,
            timers=self._timers,
            settings=self._group_settings(),
            store=self._store,
            is_suspended=lambda: self._is_suspended(group_id),
        )
        self.groups[group_id] = group
        return group

    def _create_consumer(
        self, group_id: str, snapshot: GroupSnapshot | None = None, prefix: Sequence[Pair] = ()
    ) -> ConsumerGroup:
        """A consumer group that isn't in `groups` yet; `prefix` goes in front of the first records it writes."""
        first = list(prefix)

        def store(group_id: str, pairs: Sequence[Pair]) -> None:
            self.log.append(self.log.partition_for(group_id), [*first, *pairs])
            first.clear()

        return ConsumerGroup(
            group_id,
            clock=self._clock,
            timers=self._timers,
            settings=lambda: self._consumer_settings(group_id),
            topics=self._topics,
            store=store,
            is_suspended=lambda: self._is_suspended(group_id),
            snapshot=snapshot,
        )

    def _store(self, group: ClassicGroup, assignments: Mapping[str, bytes]) -> None:
        pair = (records.encode_group_key(group.group_id), records.encode_group(group, assignments))
        self.log.append(self.log.partition_for(group.group_id), [pair])

    def _group_of_commit(self, group_id: str, committer: Committer, missing: ErrorCode) -> Group:
        group = self.groups.get(group_id)
        if group is None:
            if committer.generation >= 0:
                raise KafkaError(missing)
            group = self._create(group_id)
        return group

    def _write_commits(
        self,
        group_id: str,
        commits: Sequence[Commit],
        now: int,
        expiry: int | None,
        producer: tuple[int, int] | None = None,
    ) -> list[ErrorCode]:
        limit = self._offset_settings().metadata_max_bytes
        codes = [
            ErrorCode.offset_metadata_too_large if len(each.metadata) > limit else ErrorCode.none for each in commits
        ]
        accepted = [
            (
                OffsetKey(group_id, each.topic, each.partition),
                CommittedOffset(each.offset, each.leader_epoch, each.metadata, now, expiry),
            )
            for each, code in zip(commits, codes, strict=True)
            if code is ErrorCode.none
        ]
        if accepted:
            partition = self.log.partition_for(group_id)
            pairs = [(records.encode_offset_key(key), records.encode_offset(value)) for key, value in accepted]
            base = self.log.append(partition, pairs, producer=producer)
            for index, (key, value) in enumerate(accepted):
                placed = CommittedOffset(
                    value.offset, value.leader_epoch, value.metadata, now, expiry, record_offset=base + index
                )
                if producer is None:
                    self.offsets.put(key, placed)
                else:
                    self.offsets.put_pending(partition, producer[0], key, placed)
        return codes

    def _delete_positions(self, group_id: str, keys: Sequence[OffsetKey]) -> None:
        if keys:
            self.log.append(self.log.partition_for(group_id), [(records.encode_offset_key(key), None) for key in keys])
            for key in keys:
                self.offsets.remove(key)

    def _delete_group(self, group: Group) -> None:
        self._delete_positions(group.group_id, self.offsets.all_keys(group.group_id))
        self._forget_group(group)

    def _forget_group(self, group: Group) -> None:
        self.log.append(self.log.partition_for(group.group_id), self._tombstones(group))
        group.die(ErrorCode.group_id_not_found)
        del self.groups[group.group_id]

    @staticmethod
    def _tombstones(group: Group) -> list[Pair]:
        if isinstance(group, ConsumerGroup):
            return group.tombstones()
        return [(records.encode_group_key(group.group_id), None)]

    @staticmethod
    def _is_expired(group: Group, topic: str, value: CommittedOffset, now: int, retention_ms: int) -> bool:
        if value.expire_timestamp_ms is not None:
            return now >= value.expire_timestamp_ms
        since = group.expires_since(topic, value.commit_timestamp_ms)
        return since is not None and now - since >= retention_ms

    def _restore(self, group_id: str, stored: records.StoredGroup) -> None:
        group = self._create(group_id)
        group.restore(stored.generation, stored.protocol_type or None, stored.protocol_name, stored.leader)
        for member in stored.members:
            group.restore_member(member)
        group.restored(stored.state_timestamp_ms)


def describe_members(group: ClassicGroup) -> list[dict[str, object]]:
    """Members as DescribeGroups shows them: metadata only while the group is stable."""
    stable = group.state is GroupState.STABLE

    def describe(member: Member) -> dict[str, object]:
        return {
            "member_id": member.member_id,
            "group_instance_id": member.group_instance_id,
            "client_id": member.client_id,
            "client_host": member.client_host,
            "member_metadata": member.metadata(group.protocol_name) if stable else b"",
            "member_assignment": member.assignment,
        }

    return [describe(member) for member in group.members.values()]
