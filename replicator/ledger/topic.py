"""The link's internal topics on the target: made as they must be, and refused when they aren't.

The ledger is what a link knows; one that silently lost something would lead to lost or repeated records. So a ledger of
another shape is refused, and so is a missing one when there are copies that it should know about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from replicator.config.models import LinkConfig
from replicator.errors import ConfigurationError, ReplicatorError, UnreachableError, WrongStateError
from replicator.ledger.client_errors import RefusedError
from replicator.ledger.lanes import control_topic, ledger_topic, map_topic
from replicator.ledger.selection import skip_reason

REPLICATION_FACTOR = 3  # as Kafka's own internal topics, on clusters that have so many brokers
_TOPIC_ALREADY_EXISTS = 36
_NAMED = 5  # topics that an error names before it says how many more there are

# A takeover reads a ledger partition from its start, so compaction must keep it short, and the active segment is never
# compacted: small segments.
_COMPACTED = {
    "cleanup.policy": "compact",
    "segment.bytes": str(4 << 20),
    "segment.ms": str(60 * 60 * 1000),
    "min.cleanable.dirty.ratio": "0.1",
    "max.message.bytes": str(4 << 20),  # a thousand entries with long details in one batch
}
_CONTROL = {"cleanup.policy": "compact"}  # nothing else: it also shows what the cluster's defaults are (`sync.topics`)


class _Partitioned(Protocol):
    @property
    def partitions(self) -> int: ...


class _Spanning(Protocol):
    @property
    def brokers(self) -> tuple[Any, ...]: ...


class AdminCalls(Protocol):
    """What is needed here of `replicator.sync.admin.Admin`, of the target cluster."""

    cluster: str

    async def describe_cluster(self) -> _Spanning: ...
    async def list_topics(self) -> Mapping[str, _Partitioned]: ...
    async def describe_topics(self, names: Iterable[str], /) -> Mapping[str, _Partitioned | ReplicatorError]: ...
    async def describe_configs(self, topics: Iterable[str], /) -> Mapping[str, Any]: ...
    async def create_topics(self, specs: Iterable[Any], /) -> Mapping[str, ReplicatorError | None]: ...
    async def log_spans(self, partitions: Iterable[tuple[str, int]], /) -> Mapping[tuple[str, int], int]: ...


@dataclass(frozen=True, slots=True)
class InternalTopic:
    """A topic of the link's own, as it is to be created."""

    name: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str] = field(default_factory=dict)


def internal_topics(link: LinkConfig, brokers: int) -> tuple[InternalTopic, ...]:
    """The three internal topics of a link, for a target of so many brokers."""
    factor = link.replication_factor or min(REPLICATION_FACTOR, brokers)
    durable = {"min.insync.replicas": "2"} if factor >= 3 else {}
    return (
        InternalTopic(ledger_topic(link.name), link.lanes, factor, _COMPACTED | durable),
        InternalTopic(map_topic(link.name), link.lanes, factor, _COMPACTED | durable),
        InternalTopic(control_topic(link.name), 1, factor, _CONTROL),
    )


async def ensure_topics(
    link: LinkConfig, target: AdminCalls, make_spec: Callable[[str, int, int, Mapping[str, str]], Any] = InternalTopic
) -> None:
    """Check the link's internal topics and make those that are missing. Harmless to repeat, also by several workers.

    Raises ConfigurationError when the ledger has another number of lanes than configured, WrongStateError when it
    isn't compacted, and ReplicatorError for what the cluster refuses.
    """
    wanted = {topic.name: topic for topic in internal_topics(link, len((await target.describe_cluster()).brokers))}
    missing = await _check(target, link, wanted)
    answers = await target.create_topics(
        [make_spec(topic.name, topic.partitions, topic.replication_factor, topic.configs) for topic in missing]
    )
    for answer in answers.values():
        if answer is not None and not (isinstance(answer, RefusedError) and answer.code == _TOPIC_ALREADY_EXISTS):
            raise answer
    if any(answers.values()):  # another worker was faster: what it made counts
        await _check(target, link, wanted)


async def refuse_missing_ledger(
    link: LinkConfig, source: AdminCalls, target: AdminCalls, *, two_way: bool = False
) -> None:
    """Raise WrongStateError when copies on the target hold records and the ledger that should know them doesn't exist.

    The copies are looked at before the ledger: one that a worker has just begun has its entry already (rule A). Where
    names are kept in both directions (`two_way`) they may hold what the target's clients wrote: then the other internal
    topics tell that there was a ledger.
    """
    source_topics = await source.list_topics() if not link.names_tell else ()
    topics = await target.list_topics()
    copies = _copies(link, topics, source_topics)
    spans = await target.log_spans((name, p) for name in copies for p in range(topics[name].partitions))
    holding = sorted({name for (name, _), records in spans.items() if records > 0})
    if not holding:
        return
    ledger = ledger_topic(link.name)
    if two_way and not await _had_ledger(link, target, topics):
        return
    if ledger in topics:
        entries = await target.log_spans((ledger, p) for p in range(topics[ledger].partitions))
        if any(records > 0 for records in entries.values()):
            return
        if len(entries) < topics[ledger].partitions:
            raise UnreachableError(f"cluster {link.target}: topic {ledger} has partitions without a leader")
    state = "is empty" if ledger in topics else "doesn't exist"
    more = f" and {len(holding) - _NAMED} more" if len(holding) > _NAMED else ""
    raise WrongStateError(
        f"link {link.name}: topic {ledger} on cluster {link.target} {state}, but {', '.join(holding[:_NAMED])}{more} "
        f"already hold records. Copying them again would append every record a second time. `replicator run --adopt` "
        f"finds out by what the records hold where copying had got to, whoever did it, and goes on there; `replicator "
        f"run --from-scratch` copies everything again behind what is there. Otherwise exclude these topics, or delete "
        f"them on {link.target}"
    )


async def _had_ledger(link: LinkConfig, target: AdminCalls, topics: Mapping[str, _Partitioned]) -> bool:
    """Whether the link has copied before, by its other internal topics: its map is begun behind its ledger."""
    maps = map_topic(link.name)
    if ledger_topic(link.name) not in topics:
        return maps in topics or control_topic(link.name) in topics
    spans = await target.log_spans((maps, p) for p in range(topics[maps].partitions)) if maps in topics else {}
    return any(records > 0 for records in spans.values())


def _copies(link: LinkConfig, target_topics: Iterable[str], source_topics: Iterable[str]) -> list[str]:
    """The target topics that are, by their names, copies made by this link."""
    if not link.names_tell:
        present = set(target_topics)
        wanted = (name for name in source_topics if skip_reason(link, name) is None)
        return [remote for remote in map(link.remote_topic, wanted) if remote in present]
    prefix = link.remote_topic("")
    return [
        name
        for name in target_topics
        if name.startswith(prefix) and name != prefix and skip_reason(link, name.removeprefix(prefix)) is None
    ]


async def _check(target: AdminCalls, link: LinkConfig, wanted: Mapping[str, InternalTopic]) -> list[InternalTopic]:
    """Those that don't exist; raises for those that aren't as they must be."""
    present = await target.describe_topics(wanted)
    for name, topic in present.items():
        if isinstance(topic, ReplicatorError):
            raise topic
        if topic.partitions != wanted[name].partitions:
            if name == control_topic(link.name):
                raise WrongStateError(f"topic {name} on cluster {link.target} has {topic.partitions} partitions, not 1")
            raise ConfigurationError(
                f"links: {link.name}: lanes: {link.lanes}, but topic {name} on cluster {link.target} has "
                f"{topic.partitions} partitions. The number of lanes is fixed when a link is created: set "
                f"`lanes: {topic.partitions}`, or make a new link under another name"
            )
    for name, settings in (await target.describe_configs(present)).items():
        policy = None if isinstance(settings, ReplicatorError) else settings.get("cleanup.policy")
        if policy is not None and policy.value is not None and policy.value != "compact":
            raise WrongStateError(
                f"topic {name} on cluster {link.target} has cleanup.policy={policy.value}, so that positions "
                f"would be deleted in time: set it to compact (kafka-configs.sh --alter --entity-type topics "
                f"--entity-name {name} --add-config cleanup.policy=compact)"
            )
    return [topic for name, topic in wanted.items() if name not in present]
