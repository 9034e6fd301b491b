"""All clusters: looked up, made, changed, deleted; what operations use. The processes are `runner`'s, a task for each.

A. A record says what is wanted and is on disk before anything is done about it.
B. An operation that was begun is finished: after a restart of the control plane it is done again from its record.
C. Only one operation changes a cluster at a time: the state is ACTIVE when it begins.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Coroutine, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from broker.msk import identifiers
from broker.msk.clusters import addresses, mutable, names
from broker.msk.clusters.cluster_file import CONTROL_LISTENER, CONTROL_USER
from broker.msk.clusters.launcher import Launcher, StartCluster
from broker.msk.clusters.listeners import ListenerSpec, listeners
from broker.msk.clusters.process import ClusterProcess
from broker.msk.clusters.runner import ATTEMPTS_OF_CREATION, ChangeFailed, Events, Runner
from broker.msk.clusters.topic_admin import TopicAdmin
from broker.msk.errors import BadRequest, Conflict, NotFound
from broker.msk.records import ClusterRecord, ClusterState, NodeRecord, OperationRecord
from broker.msk.registry import Call

if TYPE_CHECKING:
    from broker.msk.service import Service

log = logging.getLogger(__name__)
BOOTSTRAP_BROKERS = 3  # one in each zone
MAX_BROKERS = 90  # AWS developer guide, "Amazon MSK quota"
RELOAD_WITHIN_S = 10.0
NOT_FOUND = "The requested resource doesn't exist."
STALE = "The version of the cluster isn't current. Check the current version and try again."


class Clusters:
    """The clusters of a service, and what was done to them."""

    def __init__(self, service: Service, start: StartCluster) -> None:
        self._service = service
        self.records = service.state.collection("clusters", ClusterRecord)
        self.operations = service.state.collection("operations", OperationRecord)
        self._launcher = Launcher(service, start)
        self._runners: dict[str, Runner] = {}
        self.on_created: list[Callable[[ClusterRecord], None]] = []

    # -- life of the control plane

    async def start(self) -> None:
        """Start all clusters, and go on with what was cut off."""
        open_operations = [operation for operation in self.operations if operation.ended is None]
        busy = {self._cluster_key(operation.cluster_arn) for operation in open_operations}
        for record in self.records:
            if record.state in (ClusterState.UPDATING, ClusterState.REBOOTING_BROKER) and record.key not in busy:
                # The operation was written down as done, and the control plane ended before the cluster was.
                record = self.save(record, state=ClusterState.HEALING, active_operation=None)
            if record.state is ClusterState.DELETING:
                self._spawn(record.key, self._delete(record.key))
            elif record.state is not ClusterState.FAILED:
                self._run(record)
        for operation in open_operations:
            if self.records.get(self._cluster_key(operation.cluster_arn)):
                self._spawn(self._cluster_key(operation.cluster_arn), self._carry_out(operation.key))

    async def stop(self) -> None:
        """End all processes. Operations that aren't done are done at the next start."""
        await asyncio.gather(*(runner.stop() for runner in self._runners.values()))

    # -- looking up

    def find(self, arn: str, region: str | None = None) -> ClusterRecord:
        """The cluster. Raises NotFound."""
        for record in self.records:
            if record.arn == arn and (region is None or record.region == region):
                return record
        raise NotFound(NOT_FOUND, "clusterArn")

    def process(self, record: ClusterRecord) -> ClusterProcess:
        """The running process of a cluster. Raises OSError while there is none."""
        runner = self._runners.get(record.key)
        if runner is None:
            raise OSError(f"cluster {record.name} isn't running")
        return runner.process

    def bootstrap(self, record: ClusterRecord) -> dict[str, str]:
        """GetBootstrapBrokers' strings, by host names where this machine knows them, by addresses otherwise."""
        named = self._launcher.names_resolve(record)
        out = {}
        for spec in listeners(record):
            if named:
                nodes = record.nodes[: 1 if record.serverless is not None else BOOTSTRAP_BROKERS]
                shown = [f"{names.host(record, node, spec.infix)}:{spec.port}" for node in nodes]
            else:
                shown = self._endpoints(record, spec)[:BOOTSTRAP_BROKERS]
            out[spec.bootstrap] = ",".join(shown)
        return out

    def _endpoints(self, record: ClusterRecord, spec: ListenerSpec) -> list[str]:
        """host:port of each broker on a listener, as its process says; without one, as its record does."""
        runner = self._runners.get(record.key)
        said = runner.bootstrap(spec.name) if runner is not None else None
        return said.split(",") if said else [f"{node.address}:{spec.port}" for node in record.nodes]

    def topics(self, record: ClusterRecord) -> TopicAdmin:
        """Topics of a running cluster. Raises OSError while there is none."""
        bootstrap = self.process(record).bootstrap[CONTROL_LISTENER]
        return TopicAdmin(bootstrap, CONTROL_USER, self._launcher.control_password(record))

    async def brokers_with_partitions(self, record: ClusterRecord) -> set[int]:
        """The brokers that hold a replica of any partition. Raises OSError."""
        topics = await self.topics(record).list()
        return {replica for topic in topics for partition in topic.partitions for replica in partition.replicas}

    # -- changes

    def create(self, record: ClusterRecord, brokers: int, subnets: list[str]) -> ClusterRecord:
        """Make a cluster with so many brokers, spread over the subnets, and start it."""
        network = addresses.choose_network(self._networks(), self._service.entropy)
        record = record.model_copy(update={"nodes": self._nodes(record, network, 1, brokers, subnets, record.created)})
        self.records.put(record.key, record)
        self._run(record)
        for told in self.on_created:
            told(record)
        return record

    def save(self, record: ClusterRecord, **changes: Any) -> ClusterRecord:
        """Keep a changed record."""
        record = record.model_copy(update=changes)
        self.records.put(record.key, record)
        return record

    def check_current(self, record: ClusterRecord, version: str | None) -> None:
        """Refuse a call about a version that isn't the current one, or while the cluster isn't ACTIVE."""
        if version is not None and version != record.version:
            raise BadRequest(STALE, "currentVersion")
        if record.state is not ClusterState.ACTIVE:
            raise BadRequest(
                f"You can't perform this operation on the cluster while it is in the {record.state} state. "
                "Wait until it is ACTIVE, then try again."
            )

    def check_quota(self, account: str, region: str, more: int) -> None:
        """Refuse more brokers than the service's quota allows an account in a region."""
        present = sum(len(one.nodes) for one in self.records if (one.account, one.region) == (account, region))
        if present + more > MAX_BROKERS:
            raise BadRequest(
                f"The quota of {MAX_BROKERS} brokers for this account and Region doesn't allow {more} more: "
                f"there are {present}. Delete clusters that aren't needed.",
                "numberOfBrokerNodes",
            )

    def begin(
        self,
        call: Call,
        record: ClusterRecord,
        type: str,
        target: Mapping[str, Any],
        *,
        state: ClusterState = ClusterState.UPDATING,
        brokers: list[int] | None = None,
    ) -> OperationRecord:
        """Note an operation and carry it out beside the call. `check_current` comes before."""
        operation = self._operation(call, record, type, target, "PENDING", brokers or [])
        self.operations.put(operation.key, operation)
        self.save(record, state=state, active_operation=operation.arn)
        self._spawn(record.key, self._carry_out(operation.key))
        return operation

    def note_done(self, call: Call, record: ClusterRecord, type: str, target: Mapping[str, Any]) -> OperationRecord:
        """Note an operation that changes nothing, as done."""
        operation = self._operation(call, record, type, target, "UPDATE_COMPLETE", [])
        operation = operation.model_copy(update={"ended": call.now})
        self.operations.put(operation.key, operation)
        return operation

    def _operation(
        self, call: Call, record: ClusterRecord, type: str, target: Mapping[str, Any], state: str, brokers: list[int]
    ) -> OperationRecord:
        key = identifiers.operation_key(self._service.entropy)
        return OperationRecord(
            key=key,
            arn=f"{record.arn.replace(':cluster/', ':cluster-operation/')}/{key}",
            region=record.region,
            account=record.account,
            created=call.now,
            cluster_arn=record.arn,
            cluster_type=record.type,
            type=type,
            state=state,
            request_id=call.request_id,
            source=mutable.read(record, *target),
            target=dict(target),
            brokers=brokers,
        )

    async def reload(self, record: ClusterRecord) -> None:
        """Let the cluster's process see what has changed beside operations (users, policies, tags); wait a little."""
        runner = self._runners.get(record.key)
        if runner is not None and record.state is not ClusterState.FAILED:
            task = self._spawn(record.key, self._reload(runner, record))
            await asyncio.wait({task}, timeout=RELOAD_WITHIN_S)

    async def _reload(self, runner: Runner, record: ClusterRecord) -> None:
        try:
            await runner.change(lambda: self._launcher.write(self._present(record.key)))
        except (OSError, ChangeFailed) as problem:
            log.error("cluster %s doesn't take what was changed: %s", record.name, problem)

    def delete(self, record: ClusterRecord) -> ClusterRecord:
        """End a cluster and forget its data."""
        if record.state is ClusterState.DELETING:
            raise BadRequest("The cluster is already being deleted.", "clusterArn")
        if record.state in (ClusterState.UPDATING, ClusterState.REBOOTING_BROKER):
            raise Conflict("The cluster is being updated. Wait until it is ACTIVE, then try again.", "clusterArn")
        record = self.save(record, state=ClusterState.DELETING)
        self._spawn(record.key, self._delete(record.key))
        return record

    # -- carrying out

    async def _carry_out(self, key: str) -> None:
        operation = self.operations.get(key)
        assert operation is not None
        cluster_key = self._cluster_key(operation.cluster_arn)
        runner = self._runners.get(cluster_key)
        self.operations.put(key, operation.model_copy(update={"state": "UPDATE_IN_PROGRESS"}))
        before = self._present(cluster_key)
        error = None
        try:
            if runner is None:
                raise OSError("the cluster isn't running")
            await runner.wait_up()
            if operation.type == "REBOOT_NODE":
                await runner.restart_nodes(operation.brokers)
            else:
                self.records.put(cluster_key, self._grown(mutable.apply(before, operation.target), operation))
                await runner.change(lambda: self._launcher.write(self._present(cluster_key)))
        except (OSError, ChangeFailed) as problem:
            log.warning("operation %s failed: %s", operation.arn, problem)
            error = {"errorCode": "InternalServerError", "errorString": str(problem)[:1000]}
            if isinstance(problem, ChangeFailed) and runner is not None:
                await self._take_back(runner, before)
        done = {"state": "UPDATE_FAILED" if error else "UPDATE_COMPLETE", "ended": self._service.now(), "error": error}
        self.operations.put(key, operation.model_copy(update=done))
        record = self._present(cluster_key)
        version = identifiers.version(self._service.entropy)
        state = ClusterState.ACTIVE if runner is not None and runner.up else ClusterState.HEALING
        self.save(record, state=state, version=version, active_operation=None)

    async def _take_back(self, runner: Runner, before: ClusterRecord) -> None:
        """Let a cluster run as it did before a change with which it doesn't start."""
        present = self._present(before.key)
        self.records.put(
            before.key, present.model_copy(update={"provisioned": before.provisioned, "nodes": before.nodes})
        )
        try:
            await runner.change(lambda: self._launcher.write(self._present(before.key)))
        except (OSError, ChangeFailed) as problem:
            log.error("cluster %s doesn't start as it was either: %s", before.name, problem)

    def _grown(self, record: ClusterRecord, operation: OperationRecord) -> ClusterRecord:
        """With as many nodes as the record now says."""
        wanted = (record.provisioned or {}).get("numberOfBrokerNodes", len(record.nodes))
        network = addresses.network_of(record.nodes[0].address)
        subnets = list(dict.fromkeys(node.subnet for node in record.nodes))
        more = self._nodes(record, network, len(record.nodes) + 1, wanted, subnets, operation.created)
        return record.model_copy(update={"nodes": [*record.nodes[:wanted], *more]})

    async def _delete(self, key: str) -> None:
        runner = self._runners.pop(key, None)
        if runner is not None:
            await runner.stop()
        record = self._present(key)
        await asyncio.to_thread(shutil.rmtree, self._launcher.directory(record), ignore_errors=True)
        for operation in self.operations:
            if operation.cluster_arn == record.arn:
                self.operations.delete(operation.key)
        self.records.delete(key)

    def _run(self, record: ClusterRecord) -> None:
        key = record.key

        def note(present: ClusterRecord, state: ClusterState, info: dict[str, str] | None) -> None:
            try:
                self.save(present, state=state, state_info=info)
            except OSError as error:  # the cluster is looked after all the same, and the state noted at the next look
                log.error("the state %s of cluster %s can't be kept: %s", state, present.name, error)

        def up() -> None:
            present = self._present(key)
            if present.state in (ClusterState.CREATING, ClusterState.HEALING):
                note(present, ClusterState.ACTIVE, None)

        def unwell(why: str) -> None:
            present = self._present(key)
            if present.state is ClusterState.ACTIVE:
                note(present, ClusterState.HEALING, {"code": "HEALING", "message": why[:1000]})

        def failed(attempt: int, why: str) -> bool:
            present = self._present(key)
            if present.state is not ClusterState.CREATING or attempt < ATTEMPTS_OF_CREATION:
                return True
            note(present, ClusterState.FAILED, {"code": "InternalError", "message": why[:1000]})
            return False

        async def launch() -> ClusterProcess:
            return await self._launcher.launch(self._present(key))

        runner = self._runners[key] = Runner(record.name, launch, Events(up, unwell, failed))
        runner.start()

    def _nodes(
        self, record: ClusterRecord, network: str, first: int, last: int, subnets: list[str], added: datetime
    ) -> list[NodeRecord]:
        return [
            NodeRecord(
                id=number,
                address=addresses.address(network, number),
                subnet=subnets[(number - 1) % len(subnets)],
                zone=names.zone(record.region, (number - 1) % len(subnets) + 1),
                added=added,
                eni=identifiers.interface(self._service.entropy),
            )
            for number in range(first, last + 1)
        ]

    def _networks(self) -> set[str]:
        return {addresses.network_of(node.address) for record in self.records for node in record.nodes}

    def _present(self, key: str) -> ClusterRecord:
        record = self.records.get(key)
        assert record is not None, f"cluster {key} was forgotten while something was done to it"
        return record

    @staticmethod
    def _cluster_key(arn: str) -> str:
        return arn.rpartition("/")[2]

    def _spawn(self, key: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        return self._service.spawn(work, f"work on cluster {key}")
