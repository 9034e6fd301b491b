"""Topics on the target, as a link wants them: created with the source's partitions and settings, and grown with it.

`TopicSync.plan()` only reads, so every worker may call it; `apply()` changes the target and is the controller's.
Nothing is ever shrunk here, and deleted only under `delete_topics: true` (`deletions`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

import structlog

from replicator.config.models import LinkConfig
from replicator.errors import AuthorizationError, ReplicatorError
from replicator.ledger.client_errors import RefusedError
from replicator.ledger.desired import nothing_released
from replicator.ledger.entry import Entry
from replicator.ledger.identity import explain, identify
from replicator.ledger.lanes import control_topic
from replicator.ledger.selection import Selection, TopicProblem, select
from replicator.states import Reason
from replicator.sync import configs
from replicator.sync.admin import Admin, ConfigSource, ConfigValue, Topic, TopicSpec
from replicator.sync.deletions import Deletions
from replicator.sync.plan import Change, Kind

_INVALID_CONFIG = 40
_TOPIC_ALREADY_EXISTS = 36
_MAX_REFUSED_KEYS = 16
_PARTITIONS_AT_ONCE = 100

_log = structlog.get_logger(__name__)

Entries = Mapping[tuple[str, int], Entry]


@dataclass(frozen=True, slots=True)
class TopicPair:
    """A source topic that is to be copied; `target` is None until its copy exists."""

    source: Topic
    remote_name: str
    target: Topic | None

    @property
    def partitions(self) -> int:
        """How many partitions can be copied now: those that exist on both sides."""
        return 0 if self.target is None else min(self.source.partitions, self.target.partitions)


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """What is and what is to be done. `problems` and `skipped` are by source topic; `grow` is target topic -> total,
    `delete` are the copies of topics that were deleted (`delete_topics`).

    A topic with a problem isn't in `pairs`, unless the target refused to create or grow it: what exists goes on.
    """

    pairs: dict[str, TopicPair] = field(default_factory=dict)
    create: tuple[TopicSpec, ...] = ()
    grow: dict[str, int] = field(default_factory=dict)
    delete: dict[str, UUID] = field(default_factory=dict)  # target topic -> its id
    problems: dict[str, TopicProblem] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    unsupported: dict[str, dict[str, str]] = field(default_factory=dict)  # source topic -> settings the target lacks

    @property
    def empty(self) -> bool:
        """Whether there's nothing to apply."""
        return not self.create and not self.grow and not self.delete


def desired(
    link: LinkConfig, source_topics: Mapping[str, Topic], target_topics: Mapping[str, Topic], entries: Entries
) -> tuple[Selection, dict[str, TopicPair]]:
    """The pairs that the link wants; those that can't be, by name or by ledger, are among the selection's problems."""
    selection = select(link, {name: topic.internal for name, topic in source_topics.items()}, target_topics)
    pairs = {
        name: TopicPair(source_topics[name], remote, target_topics.get(remote))
        for name, remote in selection.remote_names.items()
    }
    for name, problem in _identity_problems(link, source_topics, pairs, entries).items():
        selection.problems[name] = problem
        pairs.pop(name, None)
    return selection, pairs


def diff(pairs: Mapping[str, TopicPair]) -> tuple[list[TopicPair], dict[str, int]]:
    """The pairs whose copy is to be created, and target topic -> total for those that are to grow."""
    create = [pair for pair in pairs.values() if pair.target is None]
    grow = {
        pair.remote_name: pair.source.partitions
        for pair in pairs.values()
        if pair.target is not None and pair.target.partitions < pair.source.partitions
    }
    return create, grow


async def apply(target: Admin, plan: TopicPlan) -> dict[str, TopicProblem]:
    """Create and grow; what the target refused, by source topic. Doing it twice is harmless."""
    names = {pair.remote_name: name for name, pair in plan.pairs.items()}
    problems: dict[str, TopicProblem] = {}
    for remote, error in (await _create(target, plan.create)).items():
        problems[names[remote]] = _refusal(error)
    for remote, answer in (await target.create_partitions(plan.grow)).items():
        if isinstance(answer, ReplicatorError) and not await _grown(target, remote, plan.grow[remote]):
            problems[names[remote]] = _refusal(answer)
    await _delete(target, plan.delete)
    return problems


def changes_of(plan: TopicPlan) -> Iterator[Change]:
    """The plan as `replicator plan` shows it."""
    for spec in plan.create:
        made = f"{spec.partitions} partitions, replication factor {spec.replication_factor}"
        yield Change(Kind.TOPIC, spec.name, "topic", None, made)
        for key, value in sorted(spec.configs.items()):
            yield Change(Kind.CONFIG, spec.name, key, None, value)
    present = {pair.remote_name: pair.target for pair in plan.pairs.values()}
    for remote, total in plan.grow.items():
        target = present.get(remote)
        before = None if target is None else str(target.partitions)
        yield Change(Kind.PARTITIONS, remote, "partitions", before, str(total))
    for remote, topic_id in plan.delete.items():
        yield Change(Kind.TOPIC, remote, "topic", f"the copy of a deleted topic (id {topic_id})", None)


class TopicLister(Protocol):
    """Who lists a cluster's topics: its `Admin`, or its metadata."""

    async def list_topics(self) -> Mapping[str, Topic]:
        """All topics that we may describe."""
        ...


class TopicSync:
    """Plans and applies for one link; remembers what the target refused, so that it is reported once.

    `read_entries` returns the link's ledger as it is now (`LedgerFollower.entries`): a copy that was deleted mustn't be
    made anew in silence. Given the entries of some lanes only, the others' copies would be. Copies of `released` source
    topics are nobody's business here any more.
    """

    def __init__(
        self,
        link: LinkConfig,
        source: Admin,
        target: Admin,
        read_entries: Callable[[], Entries | Awaitable[Entries]] = dict,
        listing: tuple[TopicLister, TopicLister] | None = None,
        deletions: Deletions | None = None,
        released: Callable[[str], bool] = nothing_released,
    ) -> None:
        self._link = link
        self._source = source
        self._target = target
        self._read_entries = read_entries
        self._list_source, self._list_target = listing or (source, target)
        self._deletions = deletions
        self._released = released
        self._rules = configs.Rules.of(link)
        self._refused: dict[str, TopicProblem] = {}
        self._reported: set[tuple[str, str]] = set()
        self.planned: TopicPlan | None = None  # as of the last `plan`: whose copies other syncers look after

    async def plan(self) -> TopicPlan:
        """What is to be done now. Raises UnreachableError and its like when either cluster doesn't answer."""
        source_topics = await self._list_source.list_topics()
        target_topics = await self._list_target.list_topics()
        entries = self._read_entries()
        if isinstance(entries, Awaitable):
            entries = await entries
        selection, pairs = desired(self._link, source_topics, target_topics, entries)
        pairs = {name: pair for name, pair in pairs.items() if not self._released(name)}
        problems = dict(selection.problems)
        missing, grow = diff(pairs)
        specs: list[TopicSpec] = []
        unsupported: dict[str, dict[str, str]] = {}
        if missing:
            replication_factor_limit = len((await self._target.describe_cluster()).brokers)
            defaults = await self._target_defaults(target_topics)
            sources = await self._source.describe_configs([pair.source.name for pair in missing])
            for pair in await self._with_replicas(missing):
                name = pair.source.name
                settings = sources[name]
                if isinstance(settings, ReplicatorError):
                    problems[name] = _refusal(settings)
                    del pairs[name]
                    continue
                replicas = max(1, pair.source.replication_factor)
                factor = self._link.replication_factor or min(replicas, replication_factor_limit)
                wanted = configs.desired(settings, defaults, self._rules, replication_factor=factor)
                specs.append(TopicSpec(pair.remote_name, pair.source.partitions, factor, wanted.settings))
                if wanted.unsupported:
                    unsupported[name] = wanted.unsupported
        self._refused = {name: at for name, at in self._refused.items() if name in pairs and _open(pairs[name], grow)}
        delete = await self._obsolete(entries, source_topics, target_topics, problems)
        self.planned = TopicPlan(
            pairs, tuple(specs), grow, delete, problems | self._refused, selection.skipped, unsupported
        )
        return self.planned

    async def apply(self, plan: TopicPlan) -> dict[str, TopicProblem]:
        """Carry the plan out; what the target refused, which later plans show until it succeeds."""
        for name, settings in plan.unsupported.items():
            self._report(name, settings)
        self._refused = await apply(self._target, plan)
        return dict(self._refused)

    async def _obsolete(
        self,
        entries: Entries,
        source_topics: Mapping[str, Topic],
        target_topics: Mapping[str, Topic],
        problems: dict[str, TopicProblem],
    ) -> dict[str, UUID]:
        """The copies to delete, while it is sure that their topics were deleted; why not, of the others."""
        if not self._link.delete_topics or self._deletions is None:
            return {}
        selected = [e for e in entries.values() if self._link.selects(e.topic) and not self._released(e.topic)]
        gone, doubt = await self._deletions.find(selected, source_topics)
        delete: dict[str, UUID] = {}
        copies = {entry.topic: entry.target_topic for entry in selected}
        for topic in [name for name, problem in problems.items() if problem.reason is Reason.SOURCE_MISSING]:
            copy = target_topics.get(copies.get(topic, ""))
            if copy is None:
                del problems[topic]  # both are gone, as it should be
            elif topic in doubt:
                detail = f"{problems[topic].detail} Its copy isn't deleted: {doubt[topic]}."
                problems[topic] = TopicProblem(Reason.SOURCE_MISSING, detail)
            elif gone.get(topic) == copy.topic_id:
                delete[copy.name] = copy.topic_id
            else:
                detail = f"{problems[topic].detail} Its copy isn't deleted: {copy.name} is another topic by now."
                problems[topic] = TopicProblem(Reason.SOURCE_MISSING, detail)
        return delete

    async def _with_replicas(self, missing: Iterable[TopicPair]) -> list[TopicPair]:
        """The pairs with the replication factors of their sources, where the listing doesn't say them."""
        pairs = list(missing)
        unknown = [pair.source.name for pair in pairs if not pair.source.replication_factor]
        described = await self._source.describe_topics(unknown) if unknown else {}
        found: list[TopicPair] = []
        for pair in pairs:
            topic = described.get(pair.source.name)
            if isinstance(topic, Topic) and topic.topic_id == pair.source.topic_id:
                pair = TopicPair(topic, pair.remote_name, pair.target)
            found.append(pair)
        return found

    async def _target_defaults(self, target_topics: Mapping[str, Topic]) -> dict[str, ConfigValue] | None:
        """The target's settings for topics without any of their own, as the link's control topic shows them."""
        probe = control_topic(self._link.name)
        if probe not in target_topics:  # before the link has run for the first time: any topic will do
            probe = min(target_topics, default="")
            if not probe:
                return None
        answer = (await self._target.describe_configs([probe]))[probe]
        if isinstance(answer, ReplicatorError):
            return None
        own = ConfigValue(None, ConfigSource.UNKNOWN)
        return {key: own if value.source is ConfigSource.TOPIC else value for key, value in answer.items()}

    def _report(self, topic: str, settings: Mapping[str, str]) -> None:
        for key, value in settings.items():
            if (topic, key) not in self._reported:
                self._reported.add((topic, key))
                _log.warning("setting unknown to the target; left out", topic=topic, setting=key, value=value)


def _identity_problems(
    link: LinkConfig, source_topics: Mapping[str, Topic], pairs: Mapping[str, TopicPair], entries: Entries
) -> dict[str, TopicProblem]:
    problems: dict[str, TopicProblem] = {}
    for (name, _), entry in entries.items():
        pair = pairs.get(name)
        if name in problems or (pair is None and (name in source_topics or not link.selects(name))):
            continue  # not selected any more, or it has another problem already
        source_id = None if pair is None else pair.source.topic_id
        target_id = None if pair is None or pair.target is None else pair.target.topic_id
        reason = identify(entry, source_id, target_id).reason
        if reason is not None:
            detail = explain(entry, reason, source_id, target_id, source=link.source, target=link.target)
            problems[name] = TopicProblem(reason, detail)
    return problems


async def _delete(target: Admin, copies: Mapping[str, UUID]) -> None:
    """Delete these, if they are still those of these ids. What the target refuses is tried again in the next round."""
    if not copies:
        return
    described = await target.describe_topics(copies)
    same = [
        name
        for name, topic_id in copies.items()
        if isinstance(found := described.get(name), Topic) and found.topic_id == topic_id
    ]
    for name, error in (await target.delete_topics(same)).items():
        if error is None:
            _log.warning("copy of a deleted topic deleted", topic=name, topic_id=str(copies[name]))
        else:
            _log.error("copy of a deleted topic can't be deleted", topic=name, error=str(error))


async def _create(target: Admin, specs: Iterable[TopicSpec]) -> dict[str, ReplicatorError]:
    """Create topics. One that is there already is fine; a setting that the target refuses is left out and reported."""
    refused: dict[str, ReplicatorError] = {}
    for chunk in _chunks(specs):
        refused |= await _create_some(target, chunk)
    return refused


def _chunks(specs: Iterable[TopicSpec]) -> Iterator[list[TopicSpec]]:
    """Kafka refuses more than 10,000 partitions in a request; and what is made is used before the rest is."""
    chunk: list[TopicSpec] = []
    partitions = 0
    for spec in specs:
        if chunk and partitions + spec.partitions > _PARTITIONS_AT_ONCE:
            yield chunk
            chunk, partitions = [], 0
        chunk.append(spec)
        partitions += spec.partitions
    if chunk:
        yield chunk


async def _create_some(target: Admin, specs: Iterable[TopicSpec]) -> dict[str, ReplicatorError]:
    waiting = {spec.name: spec for spec in specs}
    refused: dict[str, ReplicatorError] = {}
    for _ in range(_MAX_REFUSED_KEYS):
        answers = await target.create_topics(waiting.values())
        again: dict[str, TopicSpec] = {}
        for name, answer in answers.items():
            if answer is None:
                spec = waiting[name]
                _log.info("topic created", topic=name, partitions=spec.partitions, settings=dict(spec.configs))
            elif not isinstance(answer, RefusedError) or answer.code != _TOPIC_ALREADY_EXISTS:
                key = _refused_key(answer, waiting[name])
                if key is None:
                    refused[name] = answer
                    continue
                _log.warning("setting refused by the target; left out", topic=name, setting=key, error=str(answer))
                again[name] = _without(waiting[name], key)
        waiting = again
        if not waiting:
            break
    return refused


def _refused_key(error: ReplicatorError, spec: TopicSpec) -> str | None:
    """The setting that the broker's message names, if the topic can do without it."""
    if not isinstance(error, RefusedError) or error.code != _INVALID_CONFIG:
        return None
    named = [key for key in spec.configs if key in str(error)]
    key = max(named, key=len, default=None)
    return None if key in configs.ESSENTIAL else key


def _without(spec: TopicSpec, key: str) -> TopicSpec:
    kept = {name: value for name, value in spec.configs.items() if name != key}
    return TopicSpec(spec.name, spec.partitions, spec.replication_factor, kept)


async def _grown(target: Admin, topic: str, total: int) -> bool:
    """Whether somebody else has grown the topic meanwhile: the broker then says that it has that many already."""
    answer = (await target.describe_topics([topic])).get(topic)
    return isinstance(answer, Topic) and answer.partitions >= total


def _open(pair: TopicPair, grow: Mapping[str, int]) -> bool:
    return pair.target is None or pair.remote_name in grow


def _refusal(error: ReplicatorError) -> TopicProblem:
    reason = Reason.NOT_AUTHORIZED if isinstance(error, AuthorizationError) else Reason.TOPIC_REFUSED
    return TopicProblem(reason, str(error))
