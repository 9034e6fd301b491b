"""A whole Kafka cluster in one process.

Nodes share the cluster's state: there is one log per partition, and replication is simulated. Leaders, leader epochs
and in-sync replicas change as nodes stop, freeze and come back, as clients would see it. What a real cluster does and
this one doesn't: followers that lag, waiting for a slow follower, losing what only a dead leader had (ask for that
with `elect_unclean`).

    cluster = Cluster(nodes=3)
    await cluster.start()
    ... connect clients to cluster.bootstrap ...
    await cluster.stop_node(1)
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from kio.schema.errors import ErrorCode

from broker import maintenance
from broker.clock import Clock, SystemClock
from broker.config import BrokerConfig
from broker.coordinators import Coordinators
from broker.elections import Elections
from broker.errors import KafkaError
from broker.faults import Faults
from broker.fetch_sessions import FetchSessions
from broker.metadata_store import MetadataStore
from broker.metrics.counts import Rates
from broker.node import Listener, Node, NodeState
from broker.registry import load_apis
from broker.security.acls import Acls
from broker.security.authorizer import AclAuthorizer, Authorizer
from broker.security.principal_mapper import mapper
from broker.security.sasl import SaslServer
from broker.security.scram_store import ScramStore
from broker.storage.files import DirectoryLock, DiskFiles, Files, MemoryFiles
from broker.storage.log import PartitionLog
from broker.topics import MAX_PARTITIONS, Partition, Topic, TopicRegistry, check_configs, check_name, spread

log = logging.getLogger(__name__)

TICK_SECONDS = 1.0


class Transactions(Protocol):
    """What the log side asks of the transaction coordinator, which sets `Cluster.transactions`."""

    def verify(
        self, transactional_id: str, producer_id: int, producer_epoch: int, partition: tuple[str, int]
    ) -> ErrorCode:
        """NONE if the partition was added to the producer's open transaction, else why not."""

    def owns(self, transactional_id: str, producer_id: int) -> bool:
        """Whether this is the producer id of the transactional id."""

    async def add_partition(
        self, transactional_id: str, producer_id: int, producer_epoch: int, topic: str, partition: int
    ) -> ErrorCode:
        """Add a partition on behalf of a Produce request (version 12 and above do so implicitly, KIP-890)."""


class Cluster:
    """Topics, nodes and everything they share. Start it inside a running event loop."""

    def __init__(
        self,
        *,
        nodes: int | Mapping[int, str | None] = 1,
        listeners: Sequence[Listener] = (Listener(),),
        config: Mapping[str, str] | None = None,
        data_dir: Path | None = None,
        files: Files | None = None,
        clock: Clock | None = None,
        faults: Faults | None = None,
        sasl: SaslServer | None = None,
        authorizer: Authorizer | Literal["acl", "none"] = "none",
    ) -> None:
        racks: Mapping[int, str | None] = dict.fromkeys(range(nodes)) if isinstance(nodes, int) else nodes
        if not racks:
            raise ValueError("a cluster needs at least one node")
        load_apis()
        self.config = BrokerConfig(config)
        mapper(self.config.get("ssl.principal.mapping.rules") or "")
        self.clock = clock or SystemClock()
        self.faults = faults or Faults()
        self.sasl = sasl
        """What listeners with `sasl=True` offer."""
        self.acls = Acls()
        self.scram = ScramStore()
        self.authorizer: Authorizer | None
        """Who is asked whether clients may do what they want; None: they may. "acl" means Kafka's ACLs."""
        self.data_dir = data_dir
        self.files: Files = files or (DiskFiles(data_dir) if data_dir else MemoryFiles())
        self._lock = DirectoryLock(data_dir) if data_dir else None
        self.topics = TopicRegistry()
        self.transactions: Transactions | None = None
        self.fetch_sessions = FetchSessions(self.config)
        self.features: dict[str, tuple[int, int, int]] = {
            "group.version": (0, 1, 1),
            "kraft.version": (0, 1, 0),
            "metadata.version": (7, 27, 27),
            "transaction.version": (0, 2, 2),
        }
        """Feature -> (lowest, highest supported, finalized level)."""
        self.internal_errors = 0
        self.failed_authentications = 0
        self.refused_connections = 0
        """Connections over the limits of their number."""
        self.refused_requests = 0
        """Requests that were answered by closing the connection: senseless ones, too large ones, and unasked ones."""
        self._stopping = False
        self._nodes_made = 0
        self.nodes: dict[int, Node] = {
            node_id: Node(self, node_id, tuple(listeners), rack=rack) for node_id, rack in racks.items()
        }
        self._elections = Elections(self)
        self._rates = Rates(self.clock.monotonic())
        self._on_tick: list[Callable[[], None]] = []
        self._ticker: asyncio.Task[None] | None = None
        self._maintenance = maintenance.Maintenance(self)
        self._store = MetadataStore(self.files)
        self.cluster_id = self._store.cluster_id or urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self.config.on_change.append(self._config_changed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._load()
        self.authorizer = self._authorizer(authorizer)
        self.coordinators = Coordinators(self)
        self.transactions = self.coordinators

    # -- life

    async def start(self) -> None:
        """Listen on every node. Raises OSError when an address isn't free; then everything is closed again."""
        self.coordinators.start()
        try:
            for node in self.nodes.values():
                await node.listen()
        except OSError:
            await self.stop()
            raise
        self._elections.everywhere()
        self._ticker = asyncio.create_task(self._tick(), name="broker-tick")

    async def stop(self) -> None:
        """Stop all nodes and leave the logs cleanly closed."""
        if self._ticker is not None:
            self._ticker.cancel()
            await asyncio.wait([self._ticker])
            self._ticker = None
        self._stopping = True
        for node in self.nodes.values():
            await node.close()
        await self.coordinators.stop()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self.save()
        for partition in self.topics.partitions():
            partition.log.close()
        if self._lock is not None:
            self._lock.release()

    async def __aenter__(self) -> Cluster:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    @property
    def bootstrap(self) -> str:
        """The addresses of all nodes on the first listener, comma-joined."""
        return self.bootstrap_of(next(iter(self.nodes.values())).listeners[0].name)

    def bootstrap_of(self, listener_name: str) -> str:
        """The addresses of all nodes on this listener, comma-joined."""
        addresses = (node.address(listener_name) for node in self.nodes.values())
        return ",".join(f"{host}:{port}" for host, port in addresses)

    def on_tick(self, callback: Callable[[], None]) -> None:
        """Have `callback` called every second while the cluster runs."""
        self._on_tick.append(callback)

    def on_leader_change(self, callback: Callable[[Partition], None]) -> None:
        """Have `callback` called whenever a partition gets another leader (or none)."""
        self._elections.on_change.append(callback)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run background work that is cancelled when the cluster stops; errors are logged and counted."""
        task = asyncio.create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._task_done)
        return task

    def _task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.internal_errors += 1
            log.error("background work %s failed", task.get_name(), exc_info=task.exception())

    def tick(self) -> None:
        """Run the periodic work once; tests with a clock of their own call it."""
        self._elections.fence_frozen()
        idle_seconds = self.config.get_int("connections.max.idle.ms") / 1000
        for node in self.nodes.values():
            if node.state is NodeState.RUNNING:
                node.close_idle(idle_seconds)
        self._maintenance.tick()
        counts = [node.counts for node in self.nodes.values()]
        self._rates.tick(self.clock.monotonic(), counts, (topic.name for topic in self.topics))
        for callback in self._on_tick:
            callback()

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            try:
                self.tick()
            except Exception:
                self.internal_errors += 1
                log.exception("periodic work failed")

    # -- nodes

    @property
    def controller_id(self) -> int:
        """The lowest live node's id."""
        return next((node_id for node_id, node in self.nodes.items() if node.alive), -1)

    @property
    def live_nodes(self) -> list[Node]:
        return [node for node in self.nodes.values() if node.alive]

    async def stop_node(self, node_id: int) -> None:
        """Close its listeners, cut its connections, move its partitions' leadership to in-sync replicas."""
        node = self.nodes[node_id]
        await node.close()
        self.fetch_sessions.forget_node(node_id)
        self._elections.everywhere()

    async def start_node(self, node_id: int) -> None:
        """Bring a stopped node back on its former ports; its replicas are in sync at once."""
        node = self.nodes[node_id]
        if node.state is not NodeState.STOPPED:
            return
        for partition in self.topics.partitions():
            if partition.log.offline is not None and node_id in partition.replicas:
                partition.log.reopen()
            if partition.leader == -1 and node_id in partition.isr:
                states = partition.log.producer_states
                states.forget_all_but_last_batches()
                states.expire(self.clock.now_ms(), self.config.get_int("producer.id.expiration.ms"))
        node.fenced = False
        await node.listen()
        self._elections.everywhere()

    async def add_node(self, node_id: int, rack: str | None, listeners: Sequence[Listener]) -> None:
        """Another broker, without partitions so far. ValueError if there is one of that id, OSError as of `start`."""
        if node_id in self.nodes:
            raise ValueError(f"there is a node {node_id} already")
        node = Node(self, node_id, tuple(listeners), rack=rack)
        await node.listen()
        self.nodes[node_id] = node
        self._elections.everywhere()

    async def freeze_node(self, node_id: int) -> None:
        """Let it accept connections and answer nothing. It loses leadership after broker.session.timeout.ms."""
        self.nodes[node_id].freeze()

    async def thaw_node(self, node_id: int) -> None:
        """Let a frozen node go on."""
        node = self.nodes[node_id]
        node.fenced = False
        node.thaw()
        self._elections.everywhere()

    async def elect_unclean(self, topic: str, partition: int, truncate_to: int) -> None:
        """Give the partition to another live replica whose log ends at `truncate_to`: what lay behind it is lost.

        Raises KeyError for an unknown partition, KafkaError when no replica is alive.
        """
        self._elections.unclean(self._partition(topic, partition), truncate_to)
        self.save()

    async def move_leader(self, topic: str, partition: int, node_id: int) -> None:
        """A clean election of another in-sync replica. Raises KeyError, or ValueError when it isn't in sync."""
        self._elections.move(self._partition(topic, partition), node_id)
        self.save()

    # -- topics

    def log(self, topic: str, partition: int) -> PartitionLog:
        """The partition's log. Raises KeyError when it doesn't exist."""
        return self._partition(topic, partition).log

    @property
    def uses_acls(self) -> bool:
        """Whether ACLs can be made, because there is somebody to look at them."""
        return self.authorizer is not None and self.authorizer.has_acls

    def leads(self, node: Node, partition: Partition) -> bool:
        """Whether requests for the partition are for this node."""
        return partition.leader == node.node_id

    def create_topic(
        self,
        name: str,
        partitions: int = -1,
        replication_factor: int = -1,
        configs: Mapping[str, str | None] | None = None,
        *,
        assignments: Mapping[int, Sequence[int]] | None = None,
        validate_only: bool = False,
    ) -> Topic:
        """Make a topic; -1 means the broker's default. Raises KafkaError with Kafka's codes and messages."""
        check_name(name, self.topics)
        checked = check_configs(configs or {})
        if assignments:
            placement = self._check_assignments(assignments)
        else:
            partitions = self.config.get_int("num.partitions") if partitions == -1 else partitions
            if replication_factor == -1:
                replication_factor = self.config.get_int("default.replication.factor")
            self._check_counts(partitions, replication_factor)
            placement = spread(self._node_ids(), partitions, replication_factor, self._next_first())
        topic = Topic(name, uuid.uuid4(), checked, self.config)
        if validate_only:
            for index, replicas in enumerate(placement):
                topic.partitions.append(Partition(topic, index, replicas, replicas, -1, 0, _no_log()))
            return topic
        self._nodes_made += len(placement)
        self.topics.add(topic)
        for replicas in placement:
            self._add_partition(topic, replicas)
        self.save()
        return topic

    def create_internal_topic(self, name: str, partitions: int, configs: Mapping[str, str]) -> Topic:
        """The internal topic of a coordinator, made when it isn't there yet."""
        found = self.topics.get(name)
        return found or self.create_topic(name, partitions, min(3, len(self.nodes)), configs)

    def add_partitions(
        self,
        topic: Topic,
        total: int,
        assignments: Sequence[Sequence[int]] | None = None,
        *,
        validate_only: bool = False,
    ) -> None:
        """Grow a topic to `total` partitions. Raises KafkaError with Kafka's codes and messages."""
        present = len(topic.partitions)
        if total <= present:
            message = f"The topic {topic.name} currently has {present} partition(s); {total} would not be an increase."
            if total == present:
                message = f"Topic already has {present} partition(s)."
            raise KafkaError(ErrorCode.invalid_partitions, message)
        if total - present > MAX_PARTITIONS:
            raise KafkaError(ErrorCode.policy_violation, "Excessively large number of partitions per request.")
        factor = len(topic.partitions[0].replicas)
        if assignments is not None:
            if len(assignments) != total - present:
                raise KafkaError(
                    ErrorCode.invalid_replica_assignment,
                    f"Attempted to add {total - present} additional partition(s), but only "
                    f"{len(assignments)} assignment(s) were specified.",
                )
            placement = self._check_assignments(dict(enumerate(assignments)))
        else:
            placement = spread(self._node_ids(), total - present, factor, topic.partitions[0].replicas[0] + present)
        if not validate_only:
            for replicas in placement:
                self._add_partition(topic, replicas)
            self.save()

    def delete_topic(self, topic: Topic) -> None:
        """Remove a topic and its data; readers that wait on it are woken."""
        self.topics.remove(topic)
        for partition in topic.partitions:
            partition.log.delete()
        self.coordinators.groups.forget_topic(topic.name)
        self.save()

    def alter_topic_configs(self, topic: Topic, configs: Mapping[str, str]) -> None:
        """Replace the topic's own settings by checked ones (`topics.check_configs`)."""
        topic.configs = dict(configs)
        topic.config_changed()
        for partition in topic.partitions:
            self._elections.refresh_isr(partition)
        self.save()

    def save(self) -> None:
        """Write metadata (topics, ids, settings, epochs) down; called after every change.

        A cluster in memory has nothing to lose by a crash and does it only when it stops.
        """
        if self.data_dir is not None or self._stopping:
            self._store.save(self)

    def _load(self) -> None:
        for saved in self._store.topics:
            topic = Topic(saved.name, saved.topic_id, dict(saved.configs), self.config)
            self.topics.add(topic)
            for index, row in enumerate(saved.partitions):
                replicas = tuple(node_id for node_id in row.replicas if node_id in self.nodes) or (
                    next(iter(self.nodes)),
                )
                partition = Partition(
                    topic, index, replicas, replicas, -1, row.leader_epoch, self._open_log(topic, index)
                )
                topic.partitions.append(partition)
            self._nodes_made += len(topic.partitions)
        self.config.dynamic_default.update(self._store.dynamic_default)
        for node_id, values in self._store.dynamic_by_node.items():
            self.config.dynamic_by_node[node_id] = dict(values)
        self.acls = Acls(self._store.acls)
        self.acls.on_change.append(self.save)
        self.scram = self._store.scram
        self.scram.on_change.append(self.save)
        self.config.dynamic_by_group.update(self._store.dynamic_by_group)
        self.save()

    def _authorizer(self, wanted: Authorizer | Literal["acl", "none"]) -> Authorizer | None:
        if wanted == "acl" or (wanted == "none" and self.config.get("authorizer.class.name")):
            return AclAuthorizer(self.acls, self.config)
        return None if isinstance(wanted, str) else wanted

    def _add_partition(self, topic: Topic, replicas: tuple[int, ...]) -> None:
        index = len(topic.partitions)
        partition = Partition(topic, index, replicas, replicas, -1, -1, self._open_log(topic, index))
        topic.partitions.append(partition)
        partition.isr = tuple(node_id for node_id in replicas if self.nodes[node_id].alive) or replicas
        self._elections.elect(partition)
        partition.leader_epoch = max(partition.leader_epoch, 0)

    def _open_log(self, topic: Topic, index: int) -> PartitionLog:
        name = f"{topic.name}-{index}"
        directory = f"{name}.{topic.topic_id.hex}" if self.data_dir is None else name
        opened = PartitionLog(self.files, directory, lambda: topic.log_config, self.clock, name)
        # Kafka doesn't restore producers from its snapshots that have expired meanwhile.
        opened.producer_states.expire(self.clock.now_ms(), self.config.get_int("producer.id.expiration.ms"))
        return opened

    def _partition(self, topic: str, partition: int) -> Partition:
        found = self.topics.partition(topic, partition)
        if found is None:
            raise KeyError(f"{topic}-{partition}")
        return found

    def _node_ids(self) -> list[int]:
        return [node.node_id for node in self.live_nodes] or list(self.nodes)

    def _next_first(self) -> int:
        return self._nodes_made % len(self._node_ids())

    def _check_counts(self, partitions: int, replication_factor: int) -> None:
        if partitions < 1:
            raise KafkaError(
                ErrorCode.invalid_partitions, "Number of partitions was set to an invalid non-positive value."
            )
        if partitions > MAX_PARTITIONS:
            raise KafkaError(ErrorCode.policy_violation, "Excessively large number of partitions per request.")
        if replication_factor < 1:
            raise KafkaError(
                ErrorCode.invalid_replication_factor,
                "Replication factor must be larger than 0, or -1 to use the default value.",
            )
        if replication_factor > len(self._node_ids()):
            raise KafkaError(
                ErrorCode.invalid_replication_factor,
                f"Unable to replicate the partition {replication_factor} time(s): The target replication factor "
                f"of {replication_factor} cannot be reached because only {len(self._node_ids())} broker(s) are "
                "registered.",
            )

    def _check_assignments(self, assignments: Mapping[int, Sequence[int]]) -> list[tuple[int, ...]]:
        placement = []
        for index in range(len(assignments)):
            replicas = tuple(assignments.get(index, ()))
            if not replicas or len(set(replicas)) != len(replicas) or any(r not in self.nodes for r in replicas):
                raise KafkaError(
                    ErrorCode.invalid_replica_assignment,
                    f"The manual partition assignment for partition {index} names replicas {list(replicas)}; "
                    f"brokers are {list(self.nodes)}",
                )
            placement.append(replicas)
        return placement

    def _config_changed(self) -> None:
        for topic in self.topics:
            topic.config_changed()
        self.save()


def _no_log() -> PartitionLog:
    from broker.storage.validation import LogConfig

    return PartitionLog(MemoryFiles(), "none", LogConfig, SystemClock(), "none")
