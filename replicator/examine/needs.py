"""What a link has to be allowed on its clusters: on which resources, for what, and whether it copies without.

Nothing is asked here. Only what the link's settings switch on is needed. Which operation Kafka wants for which request
is in `KafkaApis` (a position is committed with Read on the group and on the topic, for instance).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from replicator.config.mm2_names import HEARTBEATS, checkpoints_topic
from replicator.config.models import LinkConfig, Settings
from replicator.ledger.lanes import INTERNAL_PREFIX, control_topic, group_id, ledger_topic, link_of_ledger, map_topic
from replicator.states import Reason
from replicator.sync.topics import TopicPlan
from replicator.wire.permissions import CLUSTER, GROUP, TOPIC

_THE_CLUSTER = ("kafka-cluster",)
_EXCLUDE = "exclude the topics"
_SLOWLY = "set `writing: transactions`"
_NO_ACLS = "set `sync.acls: false`"
_NO_CONFIGS = "set `sync.configs: false`"
_NO_GROUPS = "set `sync.groups: false`"
_NO_CHECKPOINTS = "set `sync.checkpoints: false`"
_NO_HEARTBEATS = "set `sync.heartbeats: false`"


@dataclass(frozen=True, slots=True)
class Purpose:
    """What doesn't work without a permission, whether that `stops` the copying, and what could be done instead."""

    without: str
    stops: bool = False
    instead: str = ""


@dataclass(frozen=True, slots=True)
class Need:
    """An operation on each of these resources. `family`: the prefix to grant it on, if that covers what comes later."""

    cluster: str
    kind: str
    names: tuple[str, ...]
    operation: str
    purpose: Purpose
    family: str = ""


@dataclass(frozen=True, slots=True)
class Known:
    """What has been seen on the clusters before: topics that are there, groups to keep in step, source topics that the
    settings name and that mayn't be described. `fenced`: whether the target lets fenced writing be used."""

    source_topics: Collection[str]
    target_topics: Collection[str]
    groups: Collection[str]
    hidden: Collection[str]
    fenced: bool


class Needs:
    """Of one link."""

    def __init__(self, settings: Settings, link: LinkConfig, plan: TopicPlan, known: Known) -> None:
        self._settings, self._link, self._plan, self._known = settings, link, plan, known
        self._family = link.remote_topic("") if link.names_tell else ""
        self._written = [pair.remote_name for pair in plan.pairs.values()]
        coming = [link.remote_topic(HEARTBEATS)] if link.sync.heartbeats and HEARTBEATS not in plan.pairs else []
        self._copies = [*self._written, *coming]
        self._syncs_configs = link.sync.configs and not settings.closes(link)

    def all(self) -> list[Need]:
        """Every one of them."""
        parts = (self._to_read, self._to_write, self._to_keep_state, self._configs, self._acls, self._groups)
        return [need for part in (*parts, self._mm2, self._other_links) for need in part() if need.names]

    def _to_read(self) -> Iterator[Need]:
        link, pairs = self._link, self._plan.pairs
        unseen = Purpose("topics.include names it, and it can't be seen, if it is there", True, _EXCLUDE)
        yield from _topics(link.source, self._known.hidden, "Describe DescribeConfigs Read", unseen)
        refused = [name for name, found in self._plan.problems.items() if found.reason is Reason.NOT_AUTHORIZED]
        unread = Purpose("records couldn't be read", True, _EXCLUDE)
        yield from _topics(link.source, [*pairs, *refused], "Describe Read", unread)
        new = [name for name, pair in pairs.items() if pair.target is None]
        uncreated = Purpose("copies couldn't be created with the right settings", True, _EXCLUDE)
        yield from _topics(link.source, [*refused, *new], "Describe DescribeConfigs", uncreated)
        if self._known.fenced:
            slower = Purpose("records would be written in transactions alone, and be readable later", False, _SLOWLY)
            yield from _topics(link.source, pairs, "DescribeConfigs", slower)

    def _to_write(self) -> Iterator[Need]:
        target, plan, family = self._link.target, self._plan, self._family
        yield from _topics(
            target,
            [spec.name for spec in plan.create],
            "Create",
            Purpose("copies couldn't be created", True, _EXCLUDE),
            family,
        )
        unwritten = Purpose("records couldn't be written", True, _EXCLUDE)
        yield from _topics(target, self._written, "Describe Write", unwritten, family)
        if self._known.fenced:
            unknown = Purpose("when a worker has died, what it had written last couldn't be found out", True, _SLOWLY)
            yield from _topics(target, self._written, "Read", unknown, family)
            memory = Purpose(
                "how long its brokers remember producers couldn't be seen, so that all would be written in "
                "transactions, and be readable later", False, _SLOWLY,
            )  # fmt: skip
            yield Need(target, CLUSTER, _THE_CLUSTER, "DescribeConfigs", memory)
        yield from _topics(target, plan.grow, "Alter", Purpose("partitions couldn't be added", True), family)
        later = Purpose("partitions that are added on the source couldn't be added there")
        yield from _topics(target, set(self._copies) - plan.grow.keys(), "Alter", later, family)
        if self._link.delete_topics:
            kept = Purpose("delete_topics: copies of deleted topics would stay", False, "set `delete_topics: false`")
            yield from _topics(target, self._copies, "Delete", kept, family)

    def _to_keep_state(self) -> Iterator[Need]:
        name, target = self._link.name, self._link.target
        family = ledger_topic(name)[: -len("ledger")]
        topics = [ledger_topic(name), map_topic(name), control_topic(name)]
        absent = [topic for topic in topics if topic not in self._known.target_topics]
        state = Purpose("the link couldn't keep its positions", True)
        yield from _topics(target, absent, "Create", state, family)
        yield from _topics(target, topics, "Describe Read Write", state, family)
        unsure = Purpose("it couldn't be seen whether they are compacted, as they must be")
        yield from _topics(target, topics, "DescribeConfigs", unsure, family)
        shared = Purpose("workers share their work through it", True)
        yield Need(target, GROUP, (group_id(name),), "Describe", shared)
        yield Need(target, GROUP, (group_id(name),), "Read", shared)
        commands = Purpose("what the link is told, and what it tells, couldn't be kept")
        yield Need(target, CLUSTER, _THE_CLUSTER, "IdempotentWrite", commands)

    def _configs(self) -> Iterator[Need]:
        if self._syncs_configs:
            link = self._link
            present = [name for name, pair in self._plan.pairs.items() if pair.target is not None]
            unseen = Purpose("sync.configs: settings couldn't be compared", False, _NO_CONFIGS)
            yield from _topics(link.source, present, "DescribeConfigs", unseen)
            yield from _topics(link.target, self._copies, "DescribeConfigs", unseen, self._family)
            unchanged = Purpose("sync.configs: settings couldn't be kept in step", False, _NO_CONFIGS)
            yield from _topics(link.target, self._copies, "AlterConfigs", unchanged, self._family)

    def _acls(self) -> Iterator[Need]:
        if self._link.sync.acls:
            unseen = Purpose("sync.acls: ACLs couldn't be compared", False, _NO_ACLS)
            yield Need(self._link.source, CLUSTER, _THE_CLUSTER, "Describe", unseen)
            yield Need(self._link.target, CLUSTER, _THE_CLUSTER, "Describe", unseen)
            unchanged = Purpose("sync.acls: ACLs couldn't be kept in step", False, _NO_ACLS)
            yield Need(self._link.target, CLUSTER, _THE_CLUSTER, "Alter", unchanged)

    def _groups(self) -> Iterator[Need]:
        link, groups = self._link, tuple(sorted(self._known.groups))
        for key, wanted in (("sync.groups", link.sync.groups), ("sync.checkpoints", link.sync.checkpoints)):
            if wanted:
                unread = Purpose(f"{key}: positions couldn't be read", False, f"set `{key}: false`")
                yield Need(link.source, GROUP, groups, "Describe", unread)
        if not link.sync.groups:
            return
        unwritten = Purpose("sync.groups: positions couldn't be written", False, _NO_GROUPS)
        yield Need(link.target, GROUP, groups, "Describe", unwritten)
        yield Need(link.target, GROUP, groups, "Read", unwritten)
        if link.delete_groups:
            kept = Purpose("delete_groups: positions would stay", False, "set `delete_groups: false`")
            yield Need(link.target, GROUP, groups, "Delete", kept)
        yield from _topics(link.target, self._copies, "Read", unwritten, self._family)

    def _mm2(self) -> Iterator[Need]:
        link, known = self._link, self._known
        if link.sync.heartbeats:
            silent = Purpose("sync.heartbeats: heartbeats couldn't be written", False, _NO_HEARTBEATS)
            for alias, present in ((link.source, known.source_topics), (link.target, known.target_topics)):
                create = "Create " if HEARTBEATS not in present else ""
                yield from _topics(alias, [HEARTBEATS], f"{create}Describe Write", silent)
                yield Need(alias, CLUSTER, _THE_CLUSTER, "IdempotentWrite", silent)
            if HEARTBEATS not in self._plan.pairs:
                copied = Purpose("sync.heartbeats: heartbeats couldn't be copied", False, _NO_HEARTBEATS)
                yield from _topics(link.source, [HEARTBEATS], "Read DescribeConfigs", copied)
                copy = link.remote_topic(HEARTBEATS)
                wanted = "Describe Write" if copy in known.target_topics else "Create Describe Write"
                wanted += " Read" if known.fenced else ""
                yield from _topics(link.target, [copy], wanted, copied, self._family)
        if link.sync.checkpoints:
            topic = checkpoints_topic(link.source, link.separator)
            create = "Create " if topic not in known.target_topics else ""
            unwritten = Purpose("sync.checkpoints: checkpoints couldn't be written", False, _NO_CHECKPOINTS)
            yield from _topics(link.target, [topic], f"{create}Describe Read Write", unwritten, self._family)
            yield Need(link.target, CLUSTER, _THE_CLUSTER, "IdempotentWrite", unwritten)

    def _other_links(self) -> Iterator[Need]:
        """Their ledgers: who wrote what on our source, where positions come from, who else writes to our target."""
        link, known = self._link, self._known
        into = [other.name for other in self._settings.links_into(link.source) if other.name != link.name]
        if self._settings.mixes(link):
            ledgers = {name for name in known.source_topics if link_of_ledger(name)} | {*map(ledger_topic, into)}
            blind = Purpose("what a link has brought couldn't be told from what clients wrote", True)
            yield from _topics(link.source, ledgers, "Describe Read", blind, INTERNAL_PREFIX)
            if link.sync.acls:
                controls = {topic for topic in known.source_topics if _is_control(topic)}
                looped = Purpose("sync.acls: ACLs that a link has brought would be copied on", False, _NO_ACLS)
                yield from _topics(link.source, controls, "Describe Read", looped, INTERNAL_PREFIX)
        opposite = [name for name in into if self._settings.link(name).source == link.target]
        if link.sync.groups or link.sync.checkpoints:
            theirs = [make(name) for name in opposite for make in (ledger_topic, map_topic)]
            untold = Purpose("positions of groups in what came from there couldn't be translated back")
            yield from _topics(link.source, theirs, "Describe Read", untold, INTERNAL_PREFIX)
        others = {name for name in known.target_topics if link_of_ledger(name)}
        others |= {ledger_topic(other.name) for other in self._settings.links_into(link.target)}
        unsafe = Purpose("it couldn't be seen whether another link writes to the same topics")
        yield from _topics(link.target, others - {ledger_topic(link.name)}, "Describe Read", unsafe, INTERNAL_PREFIX)


def _topics(cluster: str, names: Iterable[str], operations: str, purpose: Purpose, family: str = "") -> Iterator[Need]:
    """The same purpose, for each of these operations."""
    for operation in operations.split():
        yield Need(cluster, TOPIC, tuple(sorted(set(names))), operation, purpose, family)


def _is_control(topic: str) -> bool:
    return topic.startswith(INTERNAL_PREFIX) and topic == control_topic(topic[len(INTERNAL_PREFIX) : -len("_control")])
