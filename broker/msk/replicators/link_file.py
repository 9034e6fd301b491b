"""What a replicator is as a link: the configuration file of its process.

| request | link |
|---|---|
| topicsToReplicate, topicsToExclude | topics.include, topics.exclude with what is internal besides |
| topicNameConfiguration, startingPosition | topics.naming, topics.start |
| copyTopicConfigurations, copyAccessControlListsForTopics | sync.configs, sync.acls |
| consumerGroupsToReplicate, consumerGroupsToExclude | groups.include, groups.exclude |
| synchroniseConsumerGroupOffsets | sync.groups; exact in both sync modes |
| detectAndCopyNewTopics, detectAndCopyNewConsumerGroups | false: the names that there were when it was said |
| targetCompressionType | compression |
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from broker.msk.replicators.records import ReplicatorRecord

LANES = 8  # a local stand-in runs one worker for each replicator
SYNC_EVERY_S = 2.0
INTERNAL_TOPICS = (
    r".*[\-.]internal",
    r".*\.replica",
    r"__.*",
    r".*__amazon_msk_replicator_.*",
    r"mskr-offset-syncs\..*",
)
INTERNAL_GROUPS = (r".*__amazon_msk_replicator_.*", r"__.*")


def render(
    record: ReplicatorRecord,
    *,
    clusters: Mapping[str, Mapping[str, Any]],
    others: Iterable[ReplicatorRecord],
    serverless: bool,
    service: Mapping[str, Any],
) -> str:
    """The file. `clusters` are the sections of all clusters by alias; `others` replicators that the link must know of,
    since records may come back by them; `serverless`: a cluster without ACLs is among them.
    `service`: what its `service` section says besides memory."""
    links = [_link(each, serverless=serverless and each is record) for each in (record, *others)]
    content = {"clusters": dict(clusters), "links": links, "service": {"memory_bytes": "64 MiB", **service}}
    return yaml.safe_dump(_literal(content), sort_keys=False, width=1000)


def _link(record: ReplicatorRecord, *, serverless: bool) -> dict[str, Any]:
    topics, groups, pinned = record.topics, record.groups, record.pinned
    return {
        "name": record.link,
        "source": record.source_alias,
        "target": record.target_alias,
        "lanes": LANES,
        "compression": record.compression.lower(),
        "topics": {
            "include": _chosen(pinned.topics, topics["topicsToReplicate"]),
            "exclude": [*topics["topicsToExclude"], *INTERNAL_TOPICS],
            "naming": "identical" if record.identical else "prefix",
            "start": topics["startingPosition"]["type"].lower(),
        },
        "groups": {
            "include": _chosen(pinned.groups, groups["consumerGroupsToReplicate"]),
            "exclude": [*groups["consumerGroupsToExclude"], *INTERNAL_GROUPS],
        },
        "sync": {
            "configs": topics["copyTopicConfigurations"],
            "acls": topics["copyAccessControlListsForTopics"] and not serverless,
            "groups": groups["synchroniseConsumerGroupOffsets"],
            "heartbeats": False,
            "checkpoints": False,
            "every": SYNC_EVERY_S,
        },
    }


def _chosen(pinned: list[str] | None, patterns: list[str]) -> list[str]:
    """Patterns, or exactly the pinned names; a pattern that matches nothing where there were none."""
    if pinned is None:
        return list(patterns)
    return [re.escape(name) for name in pinned] or [r"(?!)"]


def _literal(value: Any) -> Any:
    """The same with every `$` doubled: in the file `${NAME}` would be looked up."""
    if isinstance(value, str):
        return value.replace("$", "$$")
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    return [_literal(item) for item in value] if isinstance(value, list) else value


def directory(data: Path, record: ReplicatorRecord) -> Path:
    """Where a replicator's files are."""
    return data / "replicators" / record.key
