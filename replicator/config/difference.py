"""What one configuration says otherwise than another, key by key: for reloads, and for people to read before them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from replicator.config.models import LinkConfig, Settings

Section = Mapping[str, Any]

# A link that says something else here is another link: its ledger and its copies are elsewhere.
FIXED = frozenset({"source", "target", "lanes"})


@dataclass(frozen=True, slots=True)
class KeyChange:
    """A key with its path, as `topics.include`, and what it was and is."""

    key: str
    before: Any
    after: Any


def section_of(link: LinkConfig) -> dict[str, Any]:
    """All that the file says of a link, defaults included, as JSON has it. There are no secrets in it."""
    return link.model_dump(mode="json")


def fingerprint(section: Section) -> str:
    """The same for the same section, wherever it was read."""
    text = json.dumps(section, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def key_changes(before: Section, after: Section) -> list[KeyChange]:
    """The keys whose values differ; one that only one version of Replicator knows was or is None."""
    return list(_changes("", before, after))


def without_rate(link: LinkConfig) -> LinkConfig:
    """The link but for its `bandwidth`, which a running link takes on as it runs."""
    return link.model_copy(update={"bandwidth": None})


def same_link(name: str, before: Settings, after: Settings) -> bool:
    """Whether nothing has changed for the link of this name: neither its own section nor its clusters', nor the links
    that lead back to its source. A `bandwidth` may have."""
    one, other = before.link(name), after.link(name)
    clusters = (one.source, one.target)
    back = [
        (settings.mixes(link), settings.returns(link), settings.closes(link), settings.links_into(link.source))
        for settings, link in ((before, one), (after, other))
    ]
    same_back = not (before.mixes(one) or after.mixes(other)) or back[0] == back[1]
    return (
        without_rate(one) == without_rate(other)
        and same_back
        and all(before.clusters[alias] == after.clusters[alias] for alias in clusters)
    )


def _changes(path: str, before: Section, after: Section) -> Iterator[KeyChange]:
    for key in sorted(before.keys() | after.keys()):
        was, becomes = before.get(key), after.get(key)
        if isinstance(was, Mapping) and isinstance(becomes, Mapping):
            yield from _changes(f"{path}{key}.", was, becomes)
        elif was != becomes:
            yield KeyChange(f"{path}{key}", was, becomes)
