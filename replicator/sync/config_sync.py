"""Keeps the settings of copies in step with their sources': only differences, and what was changed on the target by
others is corrected.

Most rounds find nothing: what either side answers is compared byte by byte (`config_reader`), and a pair of answers
that was looked at before isn't looked at again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import structlog

from replicator.config.models import LinkConfig
from replicator.errors import AuthorizationError, ReplicatorError
from replicator.sync.admin import Admin, Topic
from replicator.sync.config_reader import ConfigReader, TopicConfigs
from replicator.sync.configs import Differences, Rules, differences
from replicator.sync.plan import Change, Held, Kind, SyncPlan, Why
from replicator.sync.topics import TopicPair
from replicator.wire import kafka_errors as codes
from replicator.wire.iam import TOPIC, in_iam
from replicator.wire.kafka_errors import error_name

log = structlog.get_logger(__name__)

_AGAIN_S = 300.0  # what was refused, or doesn't last, is tried again
_TRIES = 3  # a setting that shows its old value after so many changes doesn't last: somebody else sets it
_REPLICAS_S = 60.0  # how long a copy's number of replicas is believed
_CHUNK = 200  # topics per request
_GONE = frozenset({codes.UNKNOWN_TOPIC_OR_PARTITION, codes.UNKNOWN_TOPIC_ID})
_INVALID_CONFIG = 40

Pairs = Mapping[str, TopicPair]


@dataclass(slots=True)
class _Tried:
    """A change that was made, or refused: what it was, how often, and until when it is let be."""

    change: Change
    times: int = 0
    held: Held | None = None
    until: float = 0.0


class ConfigSync:
    """`Syncer` of one link. `pairs` returns the topics and copies as they were planned last."""

    def __init__(
        self,
        link: LinkConfig,
        pairs: Callable[[], Pairs],
        source: ConfigReader,
        target: ConfigReader,
        admin: Admin,
        *,
        principals: tuple[str, str] = ("the principal", "the principal"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._link = link
        self._rules = Rules.of(link)
        self._pairs = pairs
        self._source = source
        self._target = target
        self._admin = admin
        self._principals = principals
        self._clock = clock
        self._compared: dict[tuple[int, int], tuple[TopicConfigs, TopicConfigs, Differences]] = {}
        self._tried: dict[tuple[str, str], _Tried] = {}
        self._replicas: dict[str, tuple[int, float]] = {}

    async def plan(self) -> SyncPlan:
        """What differs. ReplicatorError when a cluster doesn't answer."""
        copies = {pair.remote_name: pair.source.name for pair in self._pairs().values() if pair.target is not None}
        sources, targets = await asyncio.gather(self._source.read(copies.values()), self._target.read(copies.keys()))
        changes: list[Change] = []
        held: list[Held] = []
        strict: dict[str, int] = {}
        compared: dict[tuple[int, int], tuple[TopicConfigs, TopicConfigs, Differences]] = {}
        for remote, name in copies.items():
            theirs, ours = sources.get(name), targets.get(remote)
            if theirs is None or ours is None or theirs.error in _GONE or ours.error in _GONE:
                continue  # deleted meanwhile, or so new that not every broker knows it
            if theirs.error or ours.error:
                held += self._unreadable(name, theirs, remote, ours)
                continue
            key = id(theirs), id(ours)
            known = compared.get(key) or self._compared.get(key)
            if known is None:
                known = theirs, ours, differences(theirs.values, ours.values, self._rules)
            compared[key] = known
            found = known[2]
            changes += _changes(remote, found.settings, ours)
            held += [self._unsupported(name, remote, key, value) for key, value in found.unsupported.items()]
            if found.min_insync is not None:
                strict[remote] = found.min_insync
        self._compared = compared  # both answers are kept alive by it, and so are their ids
        changes += await self._min_insync(strict, targets)
        return self._not_in_vain(changes, held)

    async def apply(self, plan: SyncPlan) -> tuple[Held, ...]:
        """Make the changes; what the target refused. A topic of which one setting is refused gets the others."""
        by_topic: dict[str, list[Change]] = {}
        for change in plan.changes:
            by_topic.setdefault(change.resource, []).append(change)
        held: list[Held] = []
        names = list(by_topic)
        for first in range(0, len(names), _CHUNK):
            chunk = {name: by_topic[name] for name in names[first : first + _CHUNK]}
            answers = await self._alter(chunk)
            for name, error in answers.items():
                if error is not None and len(chunk[name]) > 1 and not isinstance(error, AuthorizationError):
                    held += await self._one_by_one(chunk[name])
                else:
                    held += [item for change in chunk[name] if (item := self._note(change, error)) is not None]
        return tuple(held)

    async def _one_by_one(self, changes: list[Change]) -> list[Held]:
        held: list[Held] = []
        for change in changes:
            answers = await self._alter({change.resource: [change]})
            item = self._note(change, answers.get(change.resource))
            held += [] if item is None else [item]
        return held

    async def _alter(self, changes: Mapping[str, list[Change]]) -> dict[str, ReplicatorError | None]:
        wanted = {topic: {change.what: change.after for change in some} for topic, some in changes.items()}
        return await self._admin.incremental_alter_configs(wanted)

    def _note(self, change: Change, error: ReplicatorError | None) -> Held | None:
        """Remember a change that was tried, and say it; what is held if it was refused."""
        at = change.resource, change.what
        tried = self._tried.get(at)
        if tried is None or tried.change != change:
            tried = self._tried[at] = _Tried(change)
        tried.times += 1
        if error is None:
            log.info(
                "setting changed",
                link=self._link.name, topic=change.resource, setting=change.what, before=change.before,
                after=change.after,
            )  # fmt: skip
            return None
        if isinstance(error, AuthorizationError):
            grant = f"grant AlterConfigs on topic {change.resource} of cluster {self._link.target}"
            grant += f" to {self._principals[1]} ({in_iam(TOPIC, 'AlterConfigs')})"
            tried.held = Held(
                Kind.CONFIG,
                change.resource,
                Why.NOT_AUTHORIZED,
                f"Its settings can't be changed: {grant}, or set `sync.configs: false`.",
            )
            return tried.held  # it is tried again at once: the grant may come any time
        detail = f"{change.what} can't be {_in_words(change)}: {error}"
        tried.held = Held(Kind.CONFIG, change.resource, Why.REFUSED, detail)
        tried.until = self._clock() + _AGAIN_S
        return tried.held

    def _not_in_vain(self, changes: list[Change], held: list[Held]) -> SyncPlan:
        """Leave out for a while what was refused, or what somebody else changes back each time."""
        due: list[Change] = []
        tried: dict[tuple[str, str], _Tried] = {}
        now = self._clock()
        for change in changes:
            at = change.resource, change.what
            before = self._tried.get(at)
            if before is None or before.change != change:
                due.append(change)
                continue
            tried[at] = before
            if before.times >= _TRIES and before.held is None:
                detail = f"{change.what} was {_in_words(change)} {before.times} times, and is {change.before!r} again."
                before.held = Held(Kind.CONFIG, change.resource, Why.REFUSED, detail)
                before.until = now + _AGAIN_S
            if before.until > now:
                held += [before.held] if before.held is not None else []
            else:
                due.append(change)
                if before.held is not None and before.held.why is Why.REFUSED:
                    before.times, before.held = 0, None
        self._tried = tried
        return SyncPlan(tuple(due), tuple(dict.fromkeys(held)))

    async def _min_insync(self, strict: Mapping[str, int], targets: Mapping[str, TopicConfigs]) -> list[Change]:
        """Raised to what the source asks for, at most to the number of the copy's replicas."""
        now = self._clock()
        unknown = [topic for topic in strict if topic not in self._replicas or self._replicas[topic][1] < now]
        described = await self._admin.describe_topics(unknown) if unknown else {}
        for topic, answer in described.items():
            if isinstance(answer, Topic):
                self._replicas[topic] = answer.replication_factor, now + _REPLICAS_S
        self._replicas = {topic: known for topic, known in self._replicas.items() if topic in strict}
        changes: list[Change] = []
        for topic, asked in strict.items():
            wanted = min(asked, self._replicas.get(topic, (0, 0))[0])
            present = targets[topic].values.get("min.insync.replicas")
            before = "1" if present is None or present.value is None else present.value
            if before.isdigit() and wanted > int(before):
                changes.append(Change(Kind.CONFIG, topic, "min.insync.replicas", before, str(wanted)))
        return changes

    def _unreadable(self, name: str, theirs: TopicConfigs, remote: str, ours: TopicConfigs) -> list[Held]:
        held: list[Held] = []
        sides = ((name, theirs, self._source, 0), (remote, ours, self._target, 1))
        for topic, answer, side, number in sides:
            if answer.error in codes.AUTHORIZATION:
                grant = f"grant DescribeConfigs on topic {topic} of cluster {side.cluster}"
                grant += f" to {self._principals[number]} ({in_iam(TOPIC, 'DescribeConfigs')})"
                detail = f"Its settings can't be read: {grant}."
                held.append(Held(Kind.CONFIG, remote, Why.NOT_AUTHORIZED, detail))
            elif answer.error:
                said = f"{error_name(answer.error)} {answer.message}".strip()
                detail = f"The settings of topic {topic} of cluster {side.cluster} can't be read: {said}."
                held.append(Held(Kind.CONFIG, remote, Why.REFUSED, detail))
        return held

    def _unsupported(self, name: str, remote: str, key: str, value: str) -> Held:
        detail = (
            f"{key} = {value} of topic {name} isn't known to the brokers of cluster {self._link.target}; "
            "name it in `sync.config_exclude` to silence this."
        )
        return Held(Kind.CONFIG, remote, Why.UNSUPPORTED, detail)


def _changes(remote: str, settings: Mapping[str, str | None], present: TopicConfigs) -> list[Change]:
    return [
        Change(Kind.CONFIG, remote, key, before.value if (before := present.values.get(key)) else None, value)
        for key, value in settings.items()
    ]


def _in_words(change: Change) -> str:
    return "removed" if change.after is None else f"set to {change.after!r}"
