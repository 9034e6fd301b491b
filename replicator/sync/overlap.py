"""Links of one configuration that would write the same target topic: refused before either of them does."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import structlog

from replicator.config.librdkafka import client_properties
from replicator.config.models import LinkConfig, Settings
from replicator.errors import ConfigurationError, ReplicatorError
from replicator.ledger.selection import select
from replicator.sync.admin import Admin

log = structlog.get_logger(__name__)

_TIMEOUT_S = 5.0
_NAMED = 5


async def refuse_overlaps(settings: Settings, links: Collection[LinkConfig]) -> None:
    """ConfigurationError naming both links and the topics, if one of `links` and any other of the file write the same.

    What a cluster that doesn't answer now holds isn't known: then the ledgers on the target tell, once both run
    (`worker.claims`).
    """
    names = {link.name for link in links}
    pairs = [
        (one, other)
        for index, one in enumerate(settings.links)
        for other in settings.links[index + 1 :]
        if one.target == other.target and names & {one.name, other.name} and not _are_of_a_mesh(one, other)
    ]
    listed = await _list(settings, {link.source for pair in pairs for link in pair})
    for one, other in pairs:
        both = overlap(one, other, listed)
        if both:
            more = f" and {len(both) - _NAMED} more" if len(both) > _NAMED else ""
            raise ConfigurationError(
                f"links {one.name} and {other.name} would both write {', '.join(both[:_NAMED])}{more} on cluster "
                f"{one.target}; let each topic be copied by one link: change topics.include or topics.exclude of one"
            )


def _are_of_a_mesh(one: LinkConfig, other: LinkConfig) -> bool:
    """Whether each brings only what its own source's clients wrote, under the same names: nothing comes twice."""
    meant = all(link.topics.naming == "identical" and link.origins == "native" for link in (one, other))
    return meant and one.source != other.source


def overlap(one: LinkConfig, other: LinkConfig, topics: Mapping[str, Mapping[str, bool]]) -> Sequence[str]:
    """The target topics that both links write, given each source cluster's topics and whether they are internal."""
    written = [set(select(link, topics.get(link.source, {}), ()).remote_names.values()) for link in (one, other)]
    return sorted(written[0] & written[1])


async def _list(settings: Settings, clusters: Collection[str]) -> dict[str, dict[str, bool]]:
    listed: dict[str, dict[str, bool]] = {}
    for alias in sorted(clusters):
        properties = client_properties(settings.clusters[alias], client_id="replicator-overlap")
        try:
            topics = await Admin(properties, alias, timeout_s=_TIMEOUT_S).list_topics()
        except ReplicatorError as error:
            log.warning("can't tell yet whether links write the same topics", cluster=alias, error=str(error))
            continue
        listed[alias] = {name: topic.internal for name, topic in topics.items()}
    return listed
