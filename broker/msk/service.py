"""The control plane as a whole: what it knows and what it runs. Operations get it with their call."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable, Coroutine, Mapping
from datetime import UTC, datetime
from pathlib import Path
from random import Random, SystemRandom
from typing import Any, Protocol

from broker.iam.store import CredentialStore
from broker.msk.audit import AuditLog
from broker.msk.cloudwatch import ClusterMetricsPublisher
from broker.msk.clusters.launcher import StartCluster
from broker.msk.clusters.park import Clusters
from broker.msk.clusters.process import ClusterProcess
from broker.msk.records import ConfigurationRecord, VpcConnectionRecord
from broker.msk.replicators.park import Replicators
from broker.msk.secrets_source import SecretsSource
from broker.msk.settings import Settings
from broker.msk.state import StateStore, write_atomically
from broker.msk.tagged import Tagged, TagStore

log = logging.getLogger(__name__)


class Part(Protocol):
    """Something that runs as long as the service does."""

    async def start(self) -> None:
        """Start what is kept."""
        ...

    async def stop(self) -> None:
        """End it; the state stays."""
        ...


class Service:
    """State and parts. Operations reach everything from here.

    A part with processes of its own (replicators) adds itself to `parts` and, for its tags, to `tagged`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        entropy: Random | None = None,
        environment: Mapping[str, str] | None = None,
        start_cluster: StartCluster = ClusterProcess.start,
    ) -> None:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.settings = settings
        self.now = now
        self.entropy = entropy or SystemRandom()
        self.state = StateStore(settings.data / "state")
        self.audit = AuditLog(settings.data / "audit.jsonl")
        self.page_key = _kept_secret(settings.data / "page.key")
        self.configurations = self.state.collection("configurations", ConfigurationRecord)
        self.vpc_connections = self.state.collection("vpc-connections", VpcConnectionRecord)
        self.secrets = SecretsSource(settings.data / "secrets", environment or {})
        self.credentials_file = settings.data / "credentials.json"
        self.credentials: CredentialStore | None = None  # of that file; the control plane puts it there
        self.clusters = Clusters(self, start_cluster)
        self.replicators = Replicators(self, environment or {})
        self.tagged: list[TagStore] = [
            Tagged(self.clusters.records),
            Tagged(self.configurations),
            Tagged(self.vpc_connections),
            Tagged(self.replicators.records),
        ]
        self.metrics = ClusterMetricsPublisher(self.clusters, environment or {}, settings.metrics_namespace)
        self.parts: list[Part] = [self.clusters, self.replicators, self.metrics]
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Start what is kept, part by part."""
        for part in self.parts:
            await part.start()

    async def stop(self) -> None:
        """End all work, then all processes, the newest part first."""
        await self.cancel_tasks()
        for part in reversed(self.parts):
            await part.stop()

    def tags_of(self, arn: str) -> Mapping[str, str] | None:
        """The tags of a resource; None when there is no such resource."""
        for store in self.tagged:
            tags = store.tags(arn)
            if tags is not None:
                return tags
        return None

    def policy_of(self, arn: str) -> str | None:
        """The policy of a resource, if it has one: clusters may."""
        return next((record.policy for record in self.clusters.records if record.arn == arn), None)

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Run something beside the calls. It says itself what went wrong; what it doesn't is logged as our mistake."""
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("%s ended by a mistake of ours", task.get_name(), exc_info=task.exception())

    async def cancel_tasks(self) -> None:
        """End what was spawned."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _kept_secret(path: Path) -> bytes:
    if not path.exists():
        write_atomically(path, secrets.token_bytes(32))
    return path.read_bytes()
