"""Taking over from MirrorMaker 2: its stored positions, checked against its copies, become the link's first entries.

A dedicated MirrorMaker keeps positions in Connect's offsets topic on the target. What it wrote behind them is found by
content, so that going on is exact whether it was stopped or killed, and whether it copied exactly once or not.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import structlog

from replicator.config.mm2_names import SOURCE_CONNECTOR
from replicator.config.models import LinkConfig
from replicator.dr.adopt import Adoption
from replicator.dr.mm2_places import StoredPlaces
from replicator.errors import WrongStateError
from replicator.ledger.following import TopicFollower
from replicator.ledger.group_state import ALSO_MAX, MARKS_MAX, GroupTopic, Mark, encode_group, encode_group_key
from replicator.sync.group_client import GroupClient
from replicator.sync.mm2_formats import Mm2FormatError, StoredPosition, decode_checkpoint, decode_stored_position
from replicator.wire.cluster import ClusterClient

BY_IMPORT = "import-mm2 --positions"
MAX_POSITIONS = 1_000_000
STOPPED_WITHIN_S = 20.0  # a worker of Connect that was killed is a member of its group for ten seconds more, by default
_PAUSE_S = 0.5
_SLOT = "import"

log = structlog.get_logger(__name__)

Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of it. `stored` positions were found; `partitions` have got entries, `ambiguous` of them stopped.
    `groups`: in so many topics, groups' positions that MirrorMaker wrote are known as what may be moved on."""

    stored: int
    partitions: int
    ambiguous: int
    groups: int = 0


async def stored_positions(target: ClusterClient, topic: str, source: str) -> dict[Key, int]:
    """The last copied offset of each partition of the cluster `source`, as that topic on the target has it.

    WrongStateError if there's no such topic, or two connectors say different things about one partition.
    """
    view = await target.all_topics()
    metadata = view.topics.get(topic)
    if metadata is None:
        raise WrongStateError(
            f"cluster {target.alias} has no topic {topic}, where MirrorMaker keeps its positions: either it never ran "
            "with these properties, or offset.storage.topic isn't what it was"
        )
    found: dict[tuple[str, str, str, int], int] = {}

    def take(_: int, key: bytes, value: bytes | None) -> None:
        try:
            stored = decode_stored_position(key, value)
        except Mm2FormatError as error:
            log.warning("a record of Connect's offsets can't be read", topic=topic, error=str(error))
            return
        if stored is not None:
            _keep(found, stored)

    for error in (await TopicFollower(target, topic, _SLOT).read(list(metadata.partitions), take)).values():
        raise error
    chosen: dict[Key, tuple[str, int]] = {}
    for (connector, cluster, name, partition), offset in found.items():
        if cluster != source:
            continue
        other = chosen.get((name, partition))
        if other is None or connector == SOURCE_CONNECTOR:
            chosen[name, partition] = connector, offset
        elif other[0] != SOURCE_CONNECTOR and other[1] != offset:
            raise WrongStateError(
                f"topic {topic} of cluster {target.alias}: connectors {other[0]} and {connector} have stored different "
                f"positions of {name}-{partition}"
            )
    return {key: offset for key, (_, offset) in chosen.items()}


async def require_stopped(target: ClusterClient, group: str, *, within_s: float = STOPPED_WITHIN_S) -> None:
    """Return once MirrorMaker's Connect group has no members; WrongStateError if that doesn't come to be."""
    deadline = time.monotonic() + within_s
    groups = GroupClient(target)
    while True:
        found = (await groups.groups()).get(group)
        if found is None or found.empty:
            return
        if time.monotonic() > deadline:
            raise WrongStateError(
                f"cluster {target.alias}: group {group} has members: MirrorMaker is running. Stop all of its "
                "processes that copy to this cluster, then try again (a killed one is a member for ten seconds more)"
            )
        await asyncio.sleep(_PAUSE_S)


async def take_over(
    link: LinkConfig,
    source: ClusterClient,
    target: ClusterClient,
    stored: Mapping[Key, int],
    prepare: Callable[[], Awaitable[None]],
    *,
    groups: Mapping[bytes, bytes] = MappingProxyType({}),
    dry_run: bool = False,
) -> Taken:
    """Entries for all copies that hold records and have none, at the places where MirrorMaker had got to.

    `groups`: records of what MirrorMaker wrote of groups. Harmless to repeat: what the ledger knows stays as it is.
    WrongStateError while somebody writes to a copy. `dry_run` finds the places and writes nothing.
    """
    places = StoredPlaces(source, target, stored)
    adoption = Adoption(link, source, target, prepare=prepare, places=places, by=BY_IMPORT)
    outcome = await (adoption.look() if dry_run else adoption.adopt())
    written = len(groups)
    if groups and not dry_run:
        written = await adoption.remember_groups(groups)
    return Taken(len(stored), outcome.partitions, outcome.ambiguous, written)


async def synced_groups(target: ClusterClient, topic: str) -> dict[bytes, bytes]:
    """What MirrorMaker's checkpoints say that it wrote of groups on the target, as records of this link's ledger.

    It wrote some of its checkpoints, maybe not the last one: any of those that the topic still holds may be there.
    """
    view = await target.all_topics()
    if topic not in view.topics:
        return {}
    marks: dict[tuple[str, str], dict[int, Mark]] = {}

    def take(_: int, key: bytes, value: bytes | None) -> None:
        try:
            at = decode_checkpoint(key, value)
            encode_group_key(at.group, at.topic)
        except (Mm2FormatError, ValueError) as error:
            log.warning("a checkpoint can't be used", topic=topic, error=str(error))
            return
        of_topic = marks.setdefault((at.group, at.topic), {})
        before = of_topic.get(at.partition)
        held = dict.fromkeys(() if before is None else (*before.also, before.target))
        held.pop(at.downstream, None)
        if 0 <= at.partition < MARKS_MAX:
            of_topic[at.partition] = Mark(at.upstream, at.downstream, also=tuple(held)[-ALSO_MAX:])

    for error in (await TopicFollower(target, topic, _SLOT).read([0], take)).values():
        raise error
    return {encode_group_key(*key): encode_group(GroupTopic(of_topic)) for key, of_topic in marks.items()}


def _keep(found: dict[tuple[str, str, str, int], int], stored: StoredPosition) -> None:
    key = stored.connector, stored.cluster, stored.topic, stored.partition
    if stored.offset is None:
        found.pop(key, None)
    elif key in found or len(found) < MAX_POSITIONS:
        found[key] = stored.offset
    else:
        raise WrongStateError(f"more than {MAX_POSITIONS} positions are stored: more than can be taken over")
