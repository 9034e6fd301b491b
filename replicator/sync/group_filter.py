"""Which groups of the source are kept in step."""

from __future__ import annotations

import re
from collections.abc import Iterable

from replicator.config.models import GroupsConfig
from replicator.wire.groups import ListedGroup

OWN_PREFIX = "replicator."  # the workers' own groups, of whichever link
_PROTOCOLS = frozenset({"", "consumer"})  # empty: positions were committed, and nobody was a member
_KINDS = frozenset({"", "classic", "consumer"})
_REMEMBERED = 100_000


class GroupFilter:
    """`groups.include` and `groups.exclude`: full match, exclude wins. Consumer groups only, classic or of KIP-848."""

    def __init__(self, groups: GroupsConfig) -> None:
        self._include = [re.compile(pattern) for pattern in groups.include]
        self._exclude = [re.compile(pattern) for pattern in groups.exclude]
        self._chosen: dict[str, bool] = {}

    def selects(self, group: str) -> bool:
        """Whether the filters take a group of this name."""
        found = self._chosen.get(group)
        if found is None:
            found = (
                group != ""
                and not group.startswith(OWN_PREFIX)
                and not any(pattern.fullmatch(group) for pattern in self._exclude)
                and any(pattern.fullmatch(group) for pattern in self._include)
            )
            if len(self._chosen) >= _REMEMBERED:
                self._chosen.clear()
            self._chosen[group] = found
        return found

    def choose(self, groups: Iterable[ListedGroup]) -> list[str]:
        """Those of them to be kept in step."""
        return [
            each.group
            for each in groups
            if each.protocol in _PROTOCOLS and each.kind in _KINDS and self.selects(each.group)
        ]
