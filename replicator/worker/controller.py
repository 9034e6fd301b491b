"""What one worker of a link does for all of them: internal topics at the start, and while it owns lane 0 the target's
topics, and whatever else is kept in step with them.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.errors import ReplicatorError
from replicator.ledger.desired import nothing_released
from replicator.ledger.selection import TopicProblem
from replicator.ledger.topic import ensure_topics, refuse_missing_ledger
from replicator.states import Reason
from replicator.sync.admin import TopicSpec
from replicator.sync.deletions import Deletions
from replicator.sync.group_rules import Former, never_turned
from replicator.sync.group_writer import Store
from replicator.sync.groups import GroupSync
from replicator.sync.heartbeats import Heartbeats
from replicator.sync.ledger_follower import LedgerFollower
from replicator.sync.metadata_topics import MetadataTopics
from replicator.sync.syncers import make_syncers
from replicator.sync.topics import TopicSync
from replicator.sync.wire_admin import WireAdmin
from replicator.telemetry.counters import LinkCounters, SyncCounters
from replicator.wire.cluster import ClusterClient
from replicator.wire.permissions import probe_id, require_producers
from replicator.worker.control_writer import ControlWriter
from replicator.worker.sync_rounds import SyncRounds

_TOPICS = "topics"

log = structlog.get_logger(__name__)


class Controller:
    """Creates and grows what the link needs on the target. It reads the entries of all lanes, whoever owns them.

    `syncers` are what is kept in step beside the topics: each runs by itself, so that one's failure holds up no other.
    """

    def __init__(
        self,
        settings: Settings,
        link: LinkConfig,
        control: ControlWriter,
        store: Store | None = None,
        released: Callable[[str], bool] = nothing_released,
        former: Former = never_turned,
    ) -> None:
        self._link = link
        self._two_way = settings.returns(link)
        self._target_config = settings.clusters[link.target]
        client_id = f"replicator-{link.name}-admin"
        self._clients = (
            ClusterClient(link.source, settings.clusters[link.source], client_id),
            ClusterClient(link.target, settings.clusters[link.target], client_id),
        )
        listing = MetadataTopics(self._clients[0]), MetadataTopics(self._clients[1])
        self.source, self.target = (
            WireAdmin(client_properties(settings.clusters[client.alias], client_id=client_id), client, listed)
            for client, listed in zip(self._clients, listing, strict=True)
        )
        reader_properties = client_properties(settings.clusters[link.target], client_id=f"{client_id}-ledger")
        self._ledger = LedgerFollower(reader_properties, link, self.target, self._clients[1])
        self._topics = TopicSync(
            link,
            self.source,
            self.target,
            self._ledger.entries,
            listing,
            Deletions(self._clients[0], patience_s=2 * link.sync.every),
            released=released,
        )
        self._said: dict[str, str] = {}
        self._refused: dict[str, int] = {}  # by topic
        self._rounds = SyncRounds(link.name, control, lambda: int(time.time() * 1000))
        self.syncers = make_syncers(
            settings,
            link,
            self._topics,
            (self.source, self.target),
            self._clients,
            control.write,
            store,
            released,
            former,
        )
        beating = self.syncers.get("heartbeats")
        self.heartbeats = beating if isinstance(beating, Heartbeats) else None

    async def prepare(self) -> None:
        """Make sure of permissions and internal topics. AuthorizationError if we may not write as `delivery` asks for,
        WrongStateError if the ledger is gone while remote topics hold data."""
        self.target.make_ready()
        ids = (probe_id(self._link.name),) if self._link.delivery == "exactly_once" else ()
        await require_producers(self._link.target, self._target_config, f"replicator-{self._link.name}", ids)
        await refuse_missing_ledger(self._link, self.source, self.target, two_way=self._two_way)
        await ensure_topics(self._link, self.target, TopicSpec)

    async def max_message_bytes(self, topic: str) -> str:
        """The target topic's limit for a batch."""
        answer = (await self.target.describe_configs([topic]))[topic]
        if isinstance(answer, ReplicatorError):
            raise answer
        return answer["max.message.bytes"].value or "unknown"

    async def run(self) -> tuple[bool, dict[str, TopicProblem]]:
        """Create and grow target topics where that is due; whether anything was done, and what isn't copied and why."""
        try:
            plan = await self._topics.plan()
            problems = dict(plan.problems)
            if not plan.empty:
                problems |= await self._topics.apply(plan)
        except ReplicatorError:
            self._rounds.counters.setdefault(_TOPICS, SyncCounters()).failures += 1
            raise
        self._rounds.succeeded(_TOPICS, (problem.reason.value for problem in problems.values()))
        self._rounds.counters[_TOPICS].changes += len(plan.create) + len(plan.grow) + len(plan.delete)
        for name, problem in problems.items():
            if problem.reason is Reason.NOT_AUTHORIZED:
                self._refused[name] = self._refused.get(name, 0) + 1
            if self._said.get(name) != problem.detail:
                self._said[name] = problem.detail
                log.error(
                    "topic isn't copied",
                    link=self._link.name, topic=name, reason=problem.reason.value, detail=problem.detail,
                    next_step=problem.reason.next_step,
                )  # fmt: skip
        for name in self._said.keys() - problems.keys():
            del self._said[name]
        return not plan.empty, problems

    async def sync(self, name: str) -> None:
        """One round of one of the `syncers`; nothing before the topics were planned for the first time."""
        if self._topics.planned is not None:
            await self._rounds.run(name, self.syncers[name])

    def count(self, counters: LinkCounters, *, active: bool) -> None:
        """Write what the rounds have come to into `counters`; nothing of syncers unless it is `active`."""
        counters.controller = active
        counters.syncers = self._rounds.counters if active else {}
        counters.authorization_failures = self._refused
        groups = self.syncers.get("groups")
        if isinstance(groups, GroupSync):
            counters.group_positions = groups.positions_written
            counters.groups = groups.groups_followed if active else 0

    async def close(self) -> None:
        """Disconnect."""
        await self._ledger.close()
        for client in self._clients:
            await client.close()
