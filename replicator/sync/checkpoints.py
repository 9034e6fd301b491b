"""MirrorMaker 2's checkpoints: consumer groups' positions on the target, exact, in `<source>.checkpoints.internal`.

`RemoteClusterUtils.translateOffsets` and `MirrorClient.remoteConsumerOffsets` read them; a group may have members on
either side. Only what has changed is written, also backwards where a group was rewound. Nothing is ever deleted:
MirrorMaker's own client can't read a topic with a tombstone.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from replicator.config.mm2_names import checkpoints_topic
from replicator.config.models import LinkConfig, Settings
from replicator.errors import AuthorizationError, ReplicatorError
from replicator.ledger.client_errors import RefusedError
from replicator.ledger.following import TopicFollower
from replicator.ledger.log import LedgerLog
from replicator.sync.admin import Admin, TopicSpec
from replicator.sync.group_client import GroupClient
from replicator.sync.group_filter import GroupFilter
from replicator.sync.mm2_formats import Checkpoint, Mm2FormatError, decode_checkpoint, encode_checkpoint
from replicator.sync.plan import Change, Held, Kind, SyncPlan, Why
from replicator.sync.positions import Positions, Translated
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.groups import Positions as GroupPositions
from replicator.wire.iam import TOPIC, in_iam
from replicator.wire.kafka_errors import AUTHORIZATION, BrokerError
from replicator.wire.producer_id import init_producer_id

_REPLICATION_FACTOR = 3  # MirrorMaker's `checkpoints.topic.replication.factor`, where there are so many brokers
_TOPIC_ALREADY_EXISTS = 36
_SLOT = "checkpoints"
_WRITE_LIMIT_S = 30.0
_LOAD_LIMIT_S = 3.0  # of loading offset maps, in a round
_LOOK_AGAIN_S = 60.0  # at groups that haven't moved
_MAX_STRING = 0x7FFF

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class CheckpointPlan(SyncPlan):
    """What is to be written, by key."""

    records: Mapping[bytes, bytes] = field(default_factory=dict)
    create: bool = False


class Checkpoints:
    """`Syncer` of one link's checkpoints. Belongs to one event loop; one call at a time."""

    def __init__(
        self,
        settings: Settings,
        link: LinkConfig,
        source: ClusterClient,
        target: ClusterClient,
        admin: Admin,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._topic = checkpoints_topic(link.source, link.separator)
        self._groups = GroupClient(source)
        self._positions = Positions(settings, link, source, target)
        self._filter = GroupFilter(link.groups)
        self._target = target
        self._admin = admin
        self._clock = clock
        self._follower = TopicFollower(target, self._topic, _SLOT)
        self._topic_id: UUID | None = None
        self._there: dict[bytes, bytes] = {}
        self._settled: dict[str, tuple[GroupPositions, float]] = {}

    async def plan(self) -> CheckpointPlan:
        """What differs from the topic now. ReplicatorError if one of the clusters can't be asked."""
        chosen = self._filter.choose((await self._groups.groups()).values())
        found = await self._groups.positions(chosen)
        await self._positions.refresh()
        if not self._positions.exists:
            return CheckpointPlan()
        exists = await self._read_topic()
        wanted, settled = await self._translated(found)
        records: dict[bytes, bytes] = {}
        changes = []
        for checkpoint in wanted:
            key, value = encode_checkpoint(checkpoint)
            before = self._there.get(key)
            if before != value:
                records[key] = value
                what = f"{checkpoint.group} {checkpoint.topic}-{checkpoint.partition}"
                changes.append(Change(Kind.GROUP, self._topic, what, _shown(key, before), _shown(key, value)))
        if not records:
            self._settled.update(settled)
        for gone in self._settled.keys() - found.keys():
            del self._settled[gone]
        create = bool(records) and not exists
        if create:
            changes.insert(0, Change(Kind.TOPIC, self._topic, "topic", None, "compacted"))
        return CheckpointPlan(tuple(changes), (), records=records, create=create)

    async def apply(self, plan: SyncPlan) -> tuple[Held, ...]:
        """Create the topic if it isn't there, and write what the plan says."""
        if not isinstance(plan, CheckpointPlan):
            raise TypeError("not a plan of checkpoints")
        try:
            if plan.create:
                await self._create()
            self._target.watch([self._topic])
            if self._target.leader(self._topic, 0) is None:
                await self._target.refresh()
            producer = await init_producer_id(await self._target.any_connection())
            pairs = list(plan.records.items())
            await LedgerLog(self._target, self._topic, 0).write(producer, pairs, timeout_s=_WRITE_LIMIT_S)
        except ReplicatorError as error:
            refused = isinstance(error, AuthorizationError | RefusedError)
            if not refused and not (isinstance(error, BrokerError) and error.code in AUTHORIZATION):
                raise
            return (self._held(error),)
        self._there.update(plan.records)
        return ()

    # inside

    async def _read_topic(self) -> bool:
        """Whether it is there; `_there` is what it holds."""
        self._target.watch([self._topic])
        if self._target.topics.get(self._topic) is None:
            await self._target.refresh()
        topic_id = self._target.topic_id_of(self._topic)
        if topic_id != self._topic_id:
            self._topic_id = topic_id
            self._there.clear()
            self._settled.clear()
            self._follower.forget(0)
        if topic_id is None:
            return False

        def take(_: int, key: bytes, value: bytes | None) -> None:
            if value is None:
                self._there.pop(key, None)
            else:
                self._there[key] = value

        for error in (await self._follower.read([0], take)).values():
            raise error
        return True

    async def _translated(
        self, found: Mapping[str, GroupPositions]
    ) -> tuple[list[Checkpoint], dict[str, tuple[GroupPositions, float]]]:
        """What can be said of groups that aren't settled; and which of them will be, once that is written."""
        until = self._clock() + _LOAD_LIMIT_S
        while True:
            wanted: list[Checkpoint] = []
            settled: dict[str, tuple[GroupPositions, float]] = {}
            missing = False
            for group, positions in found.items():
                known = self._settled.get(group)
                if positions.error or (known and known[0] is positions and self._clock() < known[1]):
                    continue
                checkpoints, complete = self._of_group(group, positions)
                wanted += checkpoints or ()
                missing |= checkpoints is None
                if complete:
                    settled[group] = positions, self._clock() + _LOOK_AGAIN_S
            if not missing or self._clock() >= until or not await self._positions.load():
                return wanted, settled

    def _of_group(self, group: str, positions: GroupPositions) -> tuple[list[Checkpoint] | None, bool]:
        """Its checkpoints, None while a map isn't loaded; and whether they stay so as long as it doesn't move."""
        found: list[Checkpoint] = []
        complete = True
        for (topic, partition), committed in positions.committed.items():
            if committed.error:
                complete &= committed.error != codes.UNSTABLE_OFFSET_COMMIT
                continue
            if not self._positions.copied(topic):
                continue
            answer = self._positions.translate(topic, partition, committed.offset)
            if answer is None:
                return None, False
            for (name, at), translated in answer.items():
                if not isinstance(translated, Translated):
                    complete = False
                    continue
                complete &= translated.final
                if all(len(text.encode()) <= _MAX_STRING for text in (group, committed.metadata)):
                    found.append(Checkpoint(group, name, at, committed.offset, translated.offset, committed.metadata))
            complete &= bool(answer)
        return found, complete

    async def _create(self) -> None:
        factor = self._link.replication_factor or min(
            _REPLICATION_FACTOR, len((await self._admin.describe_cluster()).brokers)
        )
        spec = TopicSpec(self._topic, 1, factor, {"cleanup.policy": "compact"})
        answer = (await self._admin.create_topics([spec]))[self._topic]
        if answer is not None and not (isinstance(answer, RefusedError) and answer.code == _TOPIC_ALREADY_EXISTS):
            raise answer
        log.info("topic created", topic=self._topic)

    def _held(self, error: ReplicatorError) -> Held:
        operations = "Create", "Describe", "Read", "Write"
        remedy = (
            f"grant Create, Describe, Read and Write on topic {self._topic} of cluster {self._link.target} "
            f"({in_iam(TOPIC, *operations)}, and kafka-cluster:WriteDataIdempotently on the cluster)"
        )
        why = Why.REFUSED if isinstance(error, RefusedError) else Why.NOT_AUTHORIZED
        return Held(Kind.TOPIC, self._topic, why, f"{error}; {remedy}, or set sync.checkpoints: false")


def _shown(key: bytes, value: bytes | None) -> str | None:
    if value is None:
        return None
    try:
        return str(decode_checkpoint(key, value).downstream)
    except Mm2FormatError:
        return "unreadable"
