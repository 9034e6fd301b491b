"""MirrorMaker 2's heartbeats: a record every second into `heartbeats` on both clusters, which the link copies.

On the target its key says source -> target, as MirrorMaker's flow does it; on the source target -> source, as the
opposite flow does, even where nothing else is copied that way (`MirrorMakerConfig.clusterPairs`). The source's topic
arrives as `<source>.heartbeats`, and the names of these copies are what `MirrorClient.upstreamClusters()` and
`replicationHops()` go by.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from replicator.config.mm2_names import HEARTBEATS
from replicator.config.models import LinkConfig
from replicator.errors import AuthorizationError, ReplicatorError
from replicator.ledger.client_errors import RefusedError
from replicator.ledger.log import LedgerLog
from replicator.sync.admin import Admin, Topic, TopicSpec
from replicator.sync.mm2_formats import Heartbeat, encode_heartbeat
from replicator.sync.plan import Change, Held, Kind, SyncPlan, Why
from replicator.wire.cluster import ClusterClient
from replicator.wire.iam import TOPIC, in_iam
from replicator.wire.kafka_errors import AUTHORIZATION, BrokerError
from replicator.wire.producer_id import ProducerIdAndEpoch, init_producer_id

_REPLICATION_FACTOR = 3  # MirrorMaker's `heartbeats.topic.replication.factor`, on clusters that have so many brokers
_WRITE_LIMIT_S = 5.0
_TOPIC_ALREADY_EXISTS = 36

log = structlog.get_logger(__name__)


class Pulse:
    """The heartbeats into one cluster, as the records of one flow that ends there."""

    def __init__(
        self, flow: tuple[str, str], admin: Admin, client: ClusterClient, factor: int | None, now_ms: Callable[[], int]
    ) -> None:
        self._source, self.cluster = flow
        self.admin = admin
        self._client = client
        self._factor = factor
        self._now_ms = now_ms
        self._log = LedgerLog(client, HEARTBEATS, 0)
        self._producer: ProducerIdAndEpoch | None = None
        self.failure: ReplicatorError | None = None

    async def beat(self) -> None:
        """One record, if the topic is there. What prevents it is kept in `failure`, and said when it changes."""
        try:
            await self._beat()
            self.failure = None
        except ReplicatorError as error:
            if str(error) != str(self.failure):
                log.warning("can't write heartbeats", cluster=self.cluster, error=str(error))
            self.failure = error

    async def _beat(self) -> None:
        if self._client.leader(HEARTBEATS, 0) is None:
            self._client.watch([HEARTBEATS])
            await self._client.refresh()
            if self._client.leader(HEARTBEATS, 0) is None:
                return  # `apply` creates it
        if self._producer is None:
            self._producer = await init_producer_id(await self._client.any_connection())
            self._log.new_producer()
        pair = encode_heartbeat(Heartbeat(self._source, self.cluster, self._now_ms()))
        try:
            await self._log.write(self._producer, [pair], timeout_s=_WRITE_LIMIT_S)
        except BaseException:
            self._producer = None  # maybe it is in the log: a new producer can't be taken for a repetition
            raise

    async def topic(self) -> Topic | ReplicatorError | None:
        """The topic, why it can't be described, or None: it is to be created."""
        return (await self.admin.describe_topics([HEARTBEATS])).get(HEARTBEATS)

    async def create(self) -> ReplicatorError | None:
        """Make the topic as MirrorMaker does; why not, if it is refused. One that is there already is fine."""
        factor = self._factor or min(_REPLICATION_FACTOR, len((await self.admin.describe_cluster()).brokers))
        spec = TopicSpec(HEARTBEATS, 1, factor, {"cleanup.policy": "compact"})
        answer = (await self.admin.create_topics([spec])).get(HEARTBEATS)
        exists = isinstance(answer, RefusedError) and answer.code == _TOPIC_ALREADY_EXISTS
        return None if exists else answer

    def held(self, error: ReplicatorError) -> Held:
        """Why there are no heartbeats here, and what to do."""
        refused = isinstance(error, AuthorizationError) or (
            isinstance(error, BrokerError) and error.code in AUTHORIZATION
        )
        iam = f"{in_iam(TOPIC, 'Create', 'Describe', 'Write')}, and kafka-cluster:WriteDataIdempotently on the cluster"
        remedy = f"grant Create, Describe and Write on topic {HEARTBEATS} there ({iam}), or set sync.heartbeats: false"
        detail = f"cluster {self.cluster}: {error}" + (f"; {remedy}" if refused else "")
        return Held(Kind.TOPIC, HEARTBEATS, Why.NOT_AUTHORIZED if refused else Why.REFUSED, detail)


class Heartbeats:
    """A `Syncer` of the topics, and the pulses of one link, which its controller beats every second."""

    def __init__(
        self,
        link: LinkConfig,
        source: tuple[Admin, ClusterClient],
        target: tuple[Admin, ClusterClient],
        now_ms: Callable[[], int] = lambda: int(time.time() * 1000),
    ) -> None:
        self.pulses = (
            Pulse((link.source, link.target), *target, link.replication_factor, now_ms),
            Pulse((link.target, link.source), *source, None, now_ms),
        )

    async def plan(self) -> SyncPlan:
        """The topics that are to be created, and what holds the heartbeats back."""
        changes, held = [], []
        for pulse in self.pulses:
            found = await pulse.topic()
            if found is None:
                changes.append(Change(Kind.TOPIC, HEARTBEATS, f"on cluster {pulse.cluster}", None, "compacted"))
            elif isinstance(found, ReplicatorError):
                held.append(pulse.held(found))
            elif pulse.failure is not None and not pulse.failure.retriable:
                held.append(pulse.held(pulse.failure))
        return SyncPlan(tuple(changes), tuple(held))

    async def apply(self, plan: SyncPlan) -> tuple[Held, ...]:
        """Create them; what was refused."""
        wanted = {change.what for change in plan.changes}
        held = []
        for pulse in self.pulses:
            if f"on cluster {pulse.cluster}" in wanted and (error := await pulse.create()) is not None:
                held.append(pulse.held(error))
        return tuple(held)
