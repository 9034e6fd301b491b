"""What a replicator's process needs before it starts: its role's credentials, its file, how to go on behind copies.

Nothing here is kept: it is made from the record, the clusters as they are, and the source's topics where new ones
aren't to be detected.
"""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.msk.clusters.topic_admin import TopicFailed
from broker.msk.errors import ServiceError
from broker.msk.records import ClusterRecord
from broker.msk.replicators import link_file, telemetry
from broker.msk.replicators.external import ExternalLogin
from broker.msk.replicators.names import alias
from broker.msk.replicators.process import Launch, ProcessFailed, Tools
from broker.msk.replicators.records import Pinned, ReplicatorRecord, ReplicatorState, reference_of
from broker.msk.replicators.role import Roles, environment
from broker.msk.secrets_source import InvalidSecret
from broker.msk.state import write_atomically

if TYPE_CHECKING:
    from broker.msk.service import Service

log = logging.getLogger(__name__)
IAM_BOOTSTRAP = "bootstrapBrokerStringSaslIam"
GONE = "UNKNOWN_TOPIC_OR_PART"


class Outfit:
    """Makes it; `tools` are what it asks clusters with."""

    def __init__(self, service: Service, environment: Mapping[str, str]) -> None:
        self._service = service
        self._environment = environment
        self.tools = Tools()
        self.roles = Roles(service.credentials_file, service.now, made_up=service.settings.credentials is None)

    def directory(self, record: ReplicatorRecord) -> Path:
        """Where a replicator's files are, readable by their owner alone."""
        directory = link_file.directory(self._service.settings.data, record)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        return directory

    def telemetry(self, record: ReplicatorRecord) -> dict[str, Any]:
        """Where its metrics and log lines go."""
        return telemetry.sections(record, self._environment, self._service.settings.metrics_namespace)

    def launch(self, record: ReplicatorRecord, socket: Path, options: tuple[str, ...]) -> Launch:
        """How to start it; credentials are renewed. Raises StoreError, OSError."""
        directory = self.directory(record)
        self.roles.renew(record.role, record.account, directory)
        return Launch(
            file=directory / "replicator.yaml",
            link=record.link,
            environment=environment(directory, record.region, os.environ) | telemetry.endpoints(self._environment),
            socket=socket,
            options=options,
        )

    async def write(self, record: ReplicatorRecord, launch: Launch, others: Iterable[ReplicatorRecord]) -> None:
        """Write the link's file. Raises ProcessFailed, InvalidSecret, ServiceError, OSError."""
        clusters = await self._sections(record, launch.file.parent)
        known = []
        for other in others:
            try:
                clusters |= await self._sections(other, launch.file.parent)
            except (ProcessFailed, InvalidSecret, ServiceError) as error:
                log.warning("replicator %s doesn't know of %s: %s", record.name, other.name, error)
            else:
                known.append(other)
        content = link_file.render(
            record,
            clusters=clusters,
            others=known,
            serverless=any(found.serverless is not None for found in self.clusters(record)),
            service={"http": f"unix:{launch.socket}"} | self.telemetry(record),
        )
        write_atomically(launch.file, content.encode())

    async def pinned(self, record: ReplicatorRecord, launch: Launch) -> Pinned:
        """The names to keep to: those that there are now, where they aren't pinned yet. Raises ProcessFailed."""
        kept = record.pinned
        pin_topics = not record.topics["detectAndCopyNewTopics"]
        pin_groups = not record.groups["detectAndCopyNewConsumerGroups"]
        topics, groups = kept.topics if pin_topics else None, kept.groups if pin_groups else None
        if (pin_topics and topics is None) or (pin_groups and groups is None):
            found = await self.tools.list_source(launch)
            if pin_topics and topics is None:
                topics = _matching(found["topics"], record.topics["topicsToReplicate"])
            if pin_groups and groups is None:
                groups = _matching(found["groups"], record.groups["consumerGroupsToReplicate"])
        return Pinned(topics=topics, groups=groups)

    async def options(self, record: ReplicatorRecord, *, both_ways: bool, anew: bool) -> tuple[str, ...]:
        """What a new link is to do about copies that its target holds already: go on behind them, or where that isn't
        possible (`anew`) begin once more, as the service does. Under identical names `both_ways` it copies what its own
        ledger doesn't know: clients write there too."""
        if record.state is not ReplicatorState.CREATING or both_ways:
            return ()
        if anew:
            return ("--from-scratch",)
        return ("--adopt",) if await self._may_hold_copies(record) else ()

    async def delete_topics(self, record: ReplicatorRecord, names: Iterable[str]) -> bool:
        """Delete the link's own topics; whether they are gone."""
        target = self.target(record)
        if target is None:
            return record.target.startswith("arn:")  # a cluster of ours that is gone has taken them along
        for name in names:
            try:
                await self.tools.delete_topic(self._service.clusters.topics(target), name)
            except (TopicFailed, OSError) as error:
                if not isinstance(error, TopicFailed) or error.name != GONE:
                    log.info("internal topics of replicator %s stay: %s", record.name, error)
                    return False
        return True

    def clusters(self, record: ReplicatorRecord) -> list[ClusterRecord]:
        """Those of its clusters that are ours and are there."""
        arns = {record.source, record.target}
        return [one for one in self._service.clusters.records if one.arn in arns]

    def target(self, record: ReplicatorRecord) -> ClusterRecord | None:
        """Its target, if that is a cluster of ours."""
        return next((one for one in self.clusters(record) if one.arn == record.target), None)

    async def _may_hold_copies(self, record: ReplicatorRecord) -> bool:
        """Whether the target has topics that could be copies, of a replicator that was deleted, for instance."""
        target = self.target(record)
        if target is None:
            return True
        try:
            topics = await self.tools.list_topics(self._service.clusters.topics(target))
        except (TopicFailed, OSError):
            return True
        prefix = "" if record.identical else f"{record.source_alias}."
        return any(topic.name.startswith(prefix) and not topic.name.startswith("__") for topic in topics)

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
        security = {
            "protocol": "SASL_SSL",
            "mechanism": "AWS_MSK_IAM",
            "region": record.region,
            "ca_file": str(self._service.settings.data / "ca.pem"),
        }
        return {"bootstrap_servers": bootstrap, "security": security}


def _matching(names: list[str], patterns: list[str]) -> list[str]:
    return [name for name in names if any(re.fullmatch(pattern, name) for pattern in patterns)]
