"""Which source topics a link copies, under which names; and for the others, why not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from replicator.config.mm2_names import checkpoints_topic
from replicator.config.models import CANARY, LinkConfig
from replicator.ledger.lanes import INTERNAL_PREFIX
from replicator.states import Reason

MAX_TOPIC_LENGTH = 249  # Kafka's limit


@dataclass(frozen=True, slots=True)
class TopicProblem:
    """Why a selected source topic isn't copied."""

    reason: Reason
    detail: str


@dataclass(frozen=True, slots=True)
class Selection:
    """The outcome: source topic -> remote name for those to be copied, and both kinds of others."""

    remote_names: dict[str, str] = field(default_factory=dict)
    problems: dict[str, TopicProblem] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)  # topics that the link isn't meant to copy, and why


def select(link: LinkConfig, source_topics: Mapping[str, bool], target_topics: Iterable[str]) -> Selection:
    """Apply the link's filters, the loop rule and Kafka's rules for names. The order of topics doesn't matter.

    `source_topics` says of each whether the cluster calls it internal; `target_topics` are the names that exist there.
    """
    selection = Selection()
    taken = {_collision_key(name): name for name in target_topics}
    for name in sorted(source_topics):
        why = skip_reason(link, name, internal=source_topics[name])
        if why is not None:
            selection.skipped[name] = why
            continue
        remote = link.remote_topic(name)
        other = taken.setdefault(_collision_key(remote), remote)
        if len(remote) > MAX_TOPIC_LENGTH:
            detail = f"{remote!r} would have {len(remote)} characters; Kafka allows {MAX_TOPIC_LENGTH}."
            selection.problems[name] = TopicProblem(Reason.TOPIC_NAME_INVALID, detail)
        elif other != remote:
            detail = (
                f"{remote!r} and {other!r} differ in '.' and '_' alone, which cluster {link.target} refuses: "
                "metric names can't tell them apart."
            )
            selection.problems[name] = TopicProblem(Reason.TOPIC_NAME_INVALID, detail)
        else:
            selection.remote_names[name] = remote
    return selection


def skip_reason(link: LinkConfig, topic: str, *, internal: bool = False) -> str | None:
    """Why the link isn't meant to copy this topic; None if it is."""
    if topic.startswith(INTERNAL_PREFIX):
        return "belongs to Replicator itself"
    if internal or topic.startswith(("__", ".")):
        return "is internal to Kafka"
    if topic.endswith(checkpoints_topic("", link.separator)):
        return "holds checkpoints of another link"
    if CANARY in topic and not any(pattern.startswith(CANARY) for pattern in link.topics.include):
        return "belongs to a drill"
    if not link.selects(topic):
        return "isn't selected by topics.include and topics.exclude"
    if link.reverse_of is not None:
        return _skip_on_the_way_back(link, link.remote_topic(topic))
    named = link.topics.naming == "prefix" or link.copies_heartbeats(topic)  # the name says where it comes from
    if named and comes_from(topic, link.target, link.separator):
        return f"came from {link.target} itself"
    return None


def _skip_on_the_way_back(link: LinkConfig, origin: str) -> str | None:
    """The same for what the other link copies from a topic of this name: what that one skips, isn't its copy."""
    if origin.startswith(("__", ".")) or origin.endswith(checkpoints_topic("", link.separator)):
        return f"isn't a copy that link {link.reverse_of} makes"
    if link.topics.naming == "prefix" and comes_from(origin, link.source, link.separator):
        return f"isn't a copy that link {link.reverse_of} makes"
    return None


def comes_from(topic: str, alias: str, separator: str) -> bool:
    """Whether `alias` is among the clusters that the topic's name says it was copied from.

    MirrorMaker 2's rule (`MirrorSourceConnector.isCycle`): everything before the last separator is taken for aliases.
    """
    return alias in topic.split(separator)[:-1]


def _collision_key(name: str) -> str:
    return name.replace(".", "_")  # org.apache.kafka.common.internals.Topic#hasCollision
