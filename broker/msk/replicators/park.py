"""All replicators: looked up, made, changed, deleted. The processes are `runner`'s, a task for each.

A. A record says what is wanted and is on disk before anything is done about it.
B. What was begun is finished: after a restart of the control plane each process starts by its record, and that makes
   CREATING and UPDATING into RUNNING; a deletion goes on.
C. Under identical names the ledger of a link is never deleted: it tells copies from originals for links the other way.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.iam.errors import StoreError
from broker.msk import identifiers
from broker.msk.clusters.topic_admin import TopicFailed
from broker.msk.errors import BadRequest, NotFound, ServiceError
from broker.msk.records import ClusterRecord
from broker.msk.replicators import link_file, telemetry
from broker.msk.replicators.external import ExternalLogin
from broker.msk.replicators.names import alias, link_name, reference_arn
from broker.msk.replicators.process import Launch, ProcessFailed, Tools
from broker.msk.replicators.records import Pinned, ReplicatorRecord, ReplicatorState, RetiredLink, reference_of
from broker.msk.replicators.role import Roles, environment
from broker.msk.replicators.runner import Events, Runner
from broker.msk.secrets_source import InvalidSecret
from broker.msk.state import write_atomically
from replicator.ledger.lanes import control_topic, ledger_topic, map_topic

if TYPE_CHECKING:
    from broker.msk.service import Service

log = logging.getLogger(__name__)
NOT_FOUND = "The replicator doesn't exist."
STALE = "The version of the replicator isn't current. Check the current version and try again."
ATTEMPTS_OF_CREATION = 6
RENEW_EVERY_S = 60.0
MAX_MESSAGE = 1000
IAM_BOOTSTRAP = "bootstrapBrokerStringSaslIam"


class Replicators:
    """The replicators of a service."""

    def __init__(self, service: Service, environment: Mapping[str, str]) -> None:
        self._service = service
        self._environment = environment
        self.records = service.state.collection("replicators", ReplicatorRecord)
        self.retired = service.state.collection("retired-links", RetiredLink)
        self.roles = Roles(service.credentials_file, service.now, made_up=service.settings.credentials is None)
        self.tools = Tools()
        self._runners: dict[str, Runner] = {}
        self._work: dict[str, asyncio.Task[None]] = {}
        self._sockets: Path | None = None
        self._anew: set[str] = set()  # new ones that couldn't go on behind what is there

    # -- life of the control plane

    async def start(self) -> None:
        """Start all replicators, and go on with what was cut off."""
        self._sockets = Path(tempfile.mkdtemp(prefix="msk-"))  # short: a socket's path has about 100 characters
        for record in self.records:
            if record.state is ReplicatorState.DELETING:
                self._spawn(record.key, self._delete(record.key))
            elif record.state is not ReplicatorState.FAILED:
                self._run(record)
        self._service.spawn(self._keep_credentials(), "renew credentials of replicators")

    async def stop(self) -> None:
        """End all processes."""
        for task in list(self._work.values()):
            task.cancel()
        await asyncio.gather(*self._work.values(), return_exceptions=True)
        await asyncio.gather(*(runner.stop() for runner in self._runners.values()))
        if self._sockets is not None:
            shutil.rmtree(self._sockets, ignore_errors=True)

    # -- looking up

    def find(self, arn: str, region: str) -> ReplicatorRecord:
        """The replicator, by its own ARN or by that of its reference in the source's region. Raises NotFound."""
        for record in self.seen_from(region):
            if arn in (record.arn, reference_arn(record.arn, region)):
                return record
        raise NotFound(NOT_FOUND, "replicatorArn")

    def seen_from(self, region: str) -> Iterator[ReplicatorRecord]:
        """Those that a region lists: its own, and references to those whose source is in it."""
        for record in self.records:
            if region in (record.region, record.source_region):
                yield record

    def process_of(self, record: ReplicatorRecord) -> int | None:
        """The process id, if there is a process."""
        runner = self._runners.get(record.key)
        process = runner.process if runner is not None else None
        return process.process.pid if process is not None and process.running else None

    async def metrics_of(self, record: ReplicatorRecord) -> str | None:
        """What its process shows Prometheus just now; None while there is none that answers."""
        runner = self._runners.get(record.key)
        process = runner.process if runner is not None else None
        return await process.get("/metrics") if process is not None and process.running else None

    # -- changes

    def create(self, record: ReplicatorRecord) -> ReplicatorRecord:
        """Make a replicator and start it."""
        retired = next((one for one in self.retired if self._follows(record, one)), None)
        if retired is not None:
            record = record.model_copy(update={"link": retired.link})
            self.retired.delete(retired.key)
        elif record.link in {one.link for one in (*self.retired, *self.records)}:
            record = record.model_copy(update={"link": link_name(record.name, record.key)})
        self.records.put(record.key, record)
        self._run(record)
        self._tell_others(record)
        return record

    def update(self, record: ReplicatorRecord, **changes: Any) -> ReplicatorRecord:
        """Change a replicator beside the call."""
        record = self._save(record, state=ReplicatorState.UPDATING, state_info=None, **changes)
        self._spawn(record.key, self._change(record.key))
        self._tell_others(record)
        return record

    def update_logs(self, record: ReplicatorRecord, log_delivery: dict[str, Any] | None) -> ReplicatorRecord:
        """Deliver logs elsewhere: by a restart of the process, where anything is delivered at all."""
        version = identifiers.version(self._service.entropy)
        changed = record.model_copy(update={"log_delivery": log_delivery})
        namespace = self._service.settings.metrics_namespace
        before, after = (telemetry.sections(one, self._environment, namespace) for one in (record, changed))
        if before == after:
            return self._save(changed, version=version)
        changed = self._save(changed, state=ReplicatorState.UPDATING)
        self._spawn(record.key, self._change(record.key, by_restart=True))
        return changed

    def delete(self, record: ReplicatorRecord) -> ReplicatorRecord:
        """End a replicator. Copies stay, as everything that consumers need of them."""
        if record.state is ReplicatorState.DELETING:
            raise BadRequest("The replicator is already being deleted.", "replicatorArn")
        record = self._save(record, state=ReplicatorState.DELETING)
        work = self._work.get(record.key)
        if work is not None:
            work.cancel()
        self._spawn(record.key, self._delete(record.key))
        return record

    # -- carrying out

    def _run(self, record: ReplicatorRecord) -> None:
        key = record.key

        def up() -> None:
            present = self.records.get(key)
            if present is not None and present.state in (ReplicatorState.CREATING, ReplicatorState.UPDATING):
                version = identifiers.version(self._service.entropy)
                self._save(present, state=ReplicatorState.RUNNING, state_info=None, version=version)

        def failed(attempt: int, why: str, final: bool) -> bool:
            present = self.records.get(key)
            if present is None:
                return False
            if final and present.state is ReplicatorState.CREATING and key not in self._anew:
                self._anew.add(key)
                return True
            if present.state is not ReplicatorState.CREATING or not (final or attempt >= ATTEMPTS_OF_CREATION):
                return True
            info = {"code": "CreateReplicatorFailed", "message": why[-MAX_MESSAGE:]}
            self._save(present, state=ReplicatorState.FAILED, state_info=info)
            return False

        runner = self._runners[key] = Runner(record.name, lambda: self._prepare(key), Events(up, failed), self.tools)
        runner.start()

    async def _change(self, key: str, *, by_restart: bool = False) -> None:
        runner = self._runners.get(key)
        if runner is not None:
            await runner.change(by_restart=by_restart)

    async def _prepare(self, key: str) -> Launch:
        """Write all that the process needs. Raises ProcessFailed, OSError."""
        record = self._present(key)
        directory = link_file.directory(self._service.settings.data, record)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        assert self._sockets is not None
        launch = Launch(
            file=directory / "replicator.yaml",
            link=record.link,
            environment=environment(directory, record.region, os.environ) | telemetry.endpoints(self._environment),
            socket=self._sockets / key[:8],
            options=await self._options(record),
        )
        try:
            self.roles.renew(record.role, record.account, directory)
            await self._write(record, launch)
            pinned = await self._pin(record, launch)
            if pinned != record.pinned:
                record = self._save(self._present(key), pinned=pinned)
                await self._write(record, launch)
        except (StoreError, InvalidSecret, ServiceError) as error:
            raise ProcessFailed(str(error)) from error
        return launch

    async def _write(self, record: ReplicatorRecord, launch: Launch) -> None:
        sections = await self._sections(record, launch.file.parent)
        others = []
        for other in self._meeting(record):
            try:
                sections |= await self._sections(other, launch.file.parent)
            except (ProcessFailed, InvalidSecret, ServiceError) as error:
                log.warning("replicator %s doesn't know of %s: %s", record.name, other.name, error)
            else:
                others.append(other)
        serverless = any(found.serverless is not None for found in self._clusters(record))
        service = {"http": f"unix:{launch.socket}"} | telemetry.sections(
            record, self._environment, self._service.settings.metrics_namespace
        )
        content = link_file.render(record, clusters=sections, others=others, serverless=serverless, service=service)
        write_atomically(launch.file, content.encode())

    async def _sections(self, record: ReplicatorRecord, directory: Path) -> dict[str, dict[str, Any]]:
        return {alias(reference_of(one)): await self._section(one, directory) for one in record.clusters}

    async def _section(self, cluster: dict[str, Any], directory: Path) -> dict[str, Any]:
        if "apacheKafkaCluster" in cluster:
            login = ExternalLogin(self._service.secrets, directory, alias(reference_of(cluster)))
            bootstrap = cluster["apacheKafkaCluster"]["bootstrapBrokerString"]
            return {"bootstrap_servers": bootstrap, "security": await login.security(cluster)}
        record = self._service.clusters.find(reference_of(cluster))
        bootstrap = self._service.clusters.bootstrap(record).get(IAM_BOOTSTRAP)
        if not bootstrap:
            raise ProcessFailed(f"cluster {record.name} doesn't offer IAM access control any more")
        return {
            "bootstrap_servers": bootstrap,
            "security": {
                "protocol": "SASL_SSL",
                "mechanism": "AWS_MSK_IAM",
                "region": record.region,
                "ca_file": str(self._service.settings.data / "ca.pem"),
            },
        }

    async def _pin(self, record: ReplicatorRecord, launch: Launch) -> Pinned:
        """What new names are kept from: those that there are now, where they aren't pinned yet."""
        topics, groups = record.topics["detectAndCopyNewTopics"], record.groups["detectAndCopyNewConsumerGroups"]
        want_topics = not topics and record.pinned.topics is None
        want_groups = not groups and record.pinned.groups is None
        found = await self.tools.list_source(launch) if want_topics or want_groups else {}
        kept = record.pinned
        return Pinned(
            topics=None if topics else _matching(found["topics"], record.topics["topicsToReplicate"])
            if want_topics else kept.topics,
            groups=None if groups else _matching(found["groups"], record.groups["consumerGroupsToReplicate"])
            if want_groups else kept.groups,
        )  # fmt: skip

    async def _delete(self, key: str) -> None:
        runner = self._runners.pop(key, None)
        if runner is not None:
            await runner.stop()
        record = self._present(key)
        if record.identical or not await self._delete_topics(record):
            gone = RetiredLink(
                key=record.key, arn=record.arn, region=record.region, account=record.account, created=record.created,
                link=record.link, source=record.source, target=record.target,
            )  # fmt: skip
            self.retired.put(record.key, gone)
        directory = link_file.directory(self._service.settings.data, record)
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        self.records.delete(key)
        self._tell_others(record)

    async def _options(self, record: ReplicatorRecord) -> tuple[str, ...]:
        """What a new link is to do about copies that its target holds already: go on behind them, or where that isn't
        possible begin anew, as the service does. Under identical names both ways it copies what its own ledger doesn't
        know: clients write there too."""
        if record.state is not ReplicatorState.CREATING:
            return ()
        if any((one.source, one.target) == (record.target, record.source) for one in self._meeting(record)):
            return ()
        if record.key in self._anew:
            return ("--from-scratch",)
        return ("--adopt",) if await self._may_hold_copies(record) else ()

    async def _may_hold_copies(self, record: ReplicatorRecord) -> bool:
        """Whether the target has topics that could be copies, of a replicator that was deleted, for instance."""
        target = self._target(record)
        if target is None:
            return True
        try:
            topics = await self.tools.list_topics(self._service.clusters.topics(target))
        except (TopicFailed, OSError):
            return True
        prefix = "" if record.identical else f"{record.source_alias}."
        return any(topic.name.startswith(prefix) and not topic.name.startswith("__") for topic in topics)

    async def _delete_topics(self, record: ReplicatorRecord) -> bool:
        """The link's internal topics, if the target is a cluster of ours that runs; whether they are gone."""
        target = self._target(record)
        if target is None:
            return record.target.startswith("arn:")  # a cluster of ours that is gone has taken them along
        names = [ledger_topic(record.link), map_topic(record.link), control_topic(record.link)]
        try:
            admin = self._service.clusters.topics(target)
            await asyncio.gather(*(self.tools.delete_topic(admin, name) for name in names))
        except (TopicFailed, OSError) as error:
            log.info("internal topics of replicator %s stay: %s", record.name, error)
            return False
        return True

    def _tell_others(self, record: ReplicatorRecord) -> None:
        """Let those that records may meet know what has changed."""
        for other in self._meeting(record):
            if other.state is ReplicatorState.RUNNING and other.key in self._runners:
                self._spawn(other.key, self._change(other.key))

    def _meeting(self, record: ReplicatorRecord) -> Iterator[ReplicatorRecord]:
        """Other replicators under identical names, the clusters of which are connected with this one's by such."""
        if not record.identical:
            return
        waiting = [
            one
            for one in self.records
            if one.identical and one.key != record.key and one.state is not ReplicatorState.DELETING
        ]
        reached, again = {record.source, record.target}, True
        while again:
            again = False
            for one in list(waiting):
                if {one.source, one.target} & reached:
                    waiting.remove(one)
                    reached |= {one.source, one.target}
                    again = True
                    yield one

    def _follows(self, record: ReplicatorRecord, retired: RetiredLink) -> bool:
        return record.identical and (record.source, record.target) == (retired.source, retired.target)

    def _clusters(self, record: ReplicatorRecord) -> list[ClusterRecord]:
        """Those of its clusters that are ours and are there."""
        arns = {record.source, record.target}
        return [one for one in self._service.clusters.records if one.arn in arns]

    def _target(self, record: ReplicatorRecord) -> ClusterRecord | None:
        """Its target, if that is a cluster of ours."""
        return next((one for one in self._clusters(record) if one.arn == record.target), None)

    async def _keep_credentials(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            for record in self.records:
                if record.state not in (ReplicatorState.RUNNING, ReplicatorState.UPDATING):
                    continue
                try:
                    directory = link_file.directory(self._service.settings.data, record)
                    self.roles.renew(record.role, record.account, directory)
                except (StoreError, OSError) as error:
                    log.warning("replicator %s can't go on as its role: %s", record.name, error)

    def _save(self, record: ReplicatorRecord, **changes: Any) -> ReplicatorRecord:
        record = record.model_copy(update=changes)
        self.records.put(record.key, record)
        return record

    def _present(self, key: str) -> ReplicatorRecord:
        record = self.records.get(key)
        assert record is not None, f"replicator {key} was forgotten while something was done to it"
        return record

    def _spawn(self, key: str, work: Any) -> None:
        task = self._service.spawn(work, f"work on replicator {key}")
        self._work[key] = task
        task.add_done_callback(lambda _: self._work.pop(key, None) if self._work.get(key) is task else None)


def _matching(names: list[str], patterns: list[str]) -> list[str]:
    return [name for name in names if any(re.fullmatch(pattern, name) for pattern in patterns)]
