"""All replicators: looked up, made, changed, deleted. The processes are `runner`'s, a task for each.

A. A record says what is wanted and is on disk before anything is done about it.
B. What was begun is finished: after a restart of the control plane each process starts by its record, and that makes
   CREATING and UPDATING into RUNNING; a deletion goes on.
C. Under identical names the ledger of a link is never deleted: it tells copies from originals for links the other way.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from broker.iam.errors import StoreError
from broker.msk import identifiers
from broker.msk.errors import BadRequest, NotFound, ServiceError
from broker.msk.replicators.names import link_name, reference_arn
from broker.msk.replicators.outfit import Outfit
from broker.msk.replicators.process import Launch, ProcessFailed, Tools
from broker.msk.replicators.records import ReplicatorRecord, ReplicatorState, RetiredLink
from broker.msk.replicators.role import Roles
from broker.msk.replicators.runner import Events, Runner
from broker.msk.secrets_source import InvalidSecret
from replicator.ledger.lanes import control_topic, ledger_topic, map_topic

if TYPE_CHECKING:
    from broker.msk.service import Service

log = logging.getLogger(__name__)
NOT_FOUND = "The replicator doesn't exist."
STALE = "The version of the replicator isn't current. Check the current version and try again."
ATTEMPTS_OF_CREATION = 4
RENEW_EVERY_S = 60.0
MAX_MESSAGE = 1000


class Replicators:
    """The replicators of a service."""

    def __init__(self, service: Service, environment: Mapping[str, str]) -> None:
        self._service = service
        self._outfit = Outfit(service, environment)
        self.records = service.state.collection("replicators", ReplicatorRecord)
        self.retired = service.state.collection("retired-links", RetiredLink)
        self._runners: dict[str, Runner] = {}
        self._work: dict[str, asyncio.Task[None]] = {}
        self._sockets: Path | None = None
        self._anew: set[str] = set()  # new ones that couldn't go on behind what is there

    @property
    def roles(self) -> Roles:
        """Whom replicators act as."""
        return self._outfit.roles

    @property
    def tools(self) -> Tools:
        """How replicators are started, asked and changed."""
        return self._outfit.tools

    @tools.setter
    def tools(self, tools: Tools) -> None:
        self._outfit.tools = tools

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
        if self._outfit.telemetry(changed) == self._outfit.telemetry(record):
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
        others = list(self._meeting(record))
        back = any((one.source, one.target) == (record.target, record.source) for one in others)
        assert self._sockets is not None
        try:
            options = await self._outfit.options(record, both_ways=back, anew=key in self._anew)
            launch = self._outfit.launch(record, self._sockets / key[:8], options)
            await self._outfit.write(record, launch, others)
            pinned = await self._outfit.pinned(record, launch)
            if pinned != record.pinned:
                record = self._save(self._present(key), pinned=pinned)
                await self._outfit.write(record, launch, others)
        except (StoreError, InvalidSecret, ServiceError) as error:
            raise ProcessFailed(str(error)) from error
        return launch

    async def _delete(self, key: str) -> None:
        runner = self._runners.pop(key, None)
        if runner is not None:
            await runner.stop()
        record = self._present(key)
        own = (ledger_topic(record.link), map_topic(record.link), control_topic(record.link))
        if record.identical or not await self._outfit.delete_topics(record, own):
            gone = RetiredLink(
                key=record.key, arn=record.arn, region=record.region, account=record.account, created=record.created,
                link=record.link, source=record.source, target=record.target,
            )  # fmt: skip
            self.retired.put(record.key, gone)
        await asyncio.to_thread(shutil.rmtree, self._outfit.directory(record), ignore_errors=True)
        self.records.delete(key)
        self._tell_others(record)

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

    async def _keep_credentials(self) -> None:
        while True:
            await asyncio.sleep(RENEW_EVERY_S)
            for record in self.records:
                if record.state not in (ReplicatorState.RUNNING, ReplicatorState.UPDATING):
                    continue
                try:
                    self.roles.renew(record.role, record.account, self._outfit.directory(record))
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
