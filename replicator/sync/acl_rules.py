"""Which ACLs the target gets: from the source's, what concerns copied topics, under the copies' names.

MirrorMaker 2's and MSK Replicator's rules: grants to write aren't copied (the copy has one writer), a grant of all
operations becomes one to read, everything else is copied as it is, denials included. Unlike MirrorMaker 2:

- PREFIXED patterns are copied as PREFIXED ones, if they cover a copied topic.
- A LITERAL `*`, which means all topics, becomes PREFIXED `<alias>.`, which means all copies; under identical naming,
  where copies can't be told from other topics by name, it stays `*`. (MirrorMaker 2 makes a LITERAL `<alias>.*` of it,
  which means the one topic of that impossible name.)
- Under `acls: full` grants to write are copied, too, and those on groups and transactional ids, as they are.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from replicator.config.models import LinkConfig
from replicator.sync.acl import Acl, AclKind

_OURS = "replicator."  # our own groups and transactional ids


@dataclass(frozen=True, slots=True)
class AclRules:
    """As one link has them."""

    link: LinkConfig

    @property
    def kinds(self) -> tuple[AclKind, ...]:
        """Of which resources ACLs are copied."""
        return ("topic", "group", "transactional_id") if self._full else ("topic",)

    def desired(self, source: Iterable[Acl], copied: Collection[str]) -> set[Acl]:
        """The target's ACLs that follow from the source's; `copied` are the source topics that have copies."""
        names = sorted(copied)
        return {self.counterpart(acl) for acl in source if self._copies(acl) and self._concerns(acl, names)}

    def possible(self, source: Iterable[Acl]) -> set[Acl]:
        """As `desired`, whatever topics are copied: what isn't even here follows from no ACL of the source any more."""
        return {self.counterpart(acl) for acl in source if self._copies(acl)}

    def counterpart(self, acl: Acl) -> Acl:
        """What this ACL of the source is on the target."""
        if acl.kind != "topic":
            return acl
        if not self._full and acl.permission == "ALLOW" and acl.operation == "ALL":
            acl = acl._replace(operation="READ")
        if acl.pattern == "LITERAL" and acl.name == "*":
            everything = self.link.remote_topic("")
            return acl._replace(name=everything, pattern="PREFIXED") if everything else acl
        return acl._replace(name=self.link.remote_topic(acl.name))

    @property
    def _full(self) -> bool:
        return self.link.sync.acls == "full"

    def _copies(self, acl: Acl) -> bool:
        if acl.kind not in self.kinds or (acl.kind != "topic" and acl.name.startswith(_OURS)):
            return False
        if acl.kind == "topic" and self.link.reverse_of is not None and not self._is_of_copies(acl):
            return False
        return self._full or not (acl.permission == "ALLOW" and acl.operation == "WRITE")

    def _is_of_copies(self, acl: Acl) -> bool:
        """On the way back: whether it is about copies alone, so that it is known what it is about there."""
        if self.link.topics.naming == "identical":
            return True
        return self.link.remote_topic(acl.name) not in ("", acl.name)

    def _concerns(self, acl: Acl, names: list[str]) -> bool:
        if acl.kind != "topic":
            return True
        if acl.pattern == "PREFIXED":
            return any(_starting_with(acl.name, names))
        return acl.name == "*" or any(name == acl.name for name in _starting_with(acl.name, names))


def _starting_with(prefix: str, names: list[str]) -> Iterator[str]:
    """Those of the sorted names."""
    for index in range(bisect_left(names, prefix), len(names)):
        if not names[index].startswith(prefix):
            return
        yield names[index]
