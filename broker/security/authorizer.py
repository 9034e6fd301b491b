"""Who may do what, by ACLs. Behaviour of Kafka's `StandardAuthorizer`.

A. A super user may do everything, whatever the ACLs say.
B. Otherwise a matching DENY wins over any ALLOW.
C. Otherwise a matching ALLOW suffices; READ, WRITE, DELETE and ALTER include DESCRIBE, and ALTER_CONFIGS includes
   DESCRIBE_CONFIGS, in ALLOW only.
D. Otherwise it is refused, unless no ACL at all (for whomever) names the resource and
   `allow.everyone.if.no.acl.found` is true.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from broker.config import BrokerConfig
from broker.config_defs import InvalidConfig
from broker.security.acls import WILDCARD, Acl, AclFilter, Acls
from broker.security.resources import Operation, PatternType, Permission, ResourceType

EVERYBODY = "User:*"
_DESCRIBING = frozenset({Operation.DESCRIBE, Operation.READ, Operation.WRITE, Operation.DELETE, Operation.ALTER})
_DESCRIBING_CONFIGS = frozenset({Operation.DESCRIBE_CONFIGS, Operation.ALTER_CONFIGS})


@dataclass(frozen=True, slots=True)
class Requester:
    """Who asks, from where, and by which API."""

    principal: str
    host: str
    api: str


class Authorizer(Protocol):
    """Answers every question about permission; ACLs are one way of knowing."""

    @property
    def has_acls(self) -> bool:
        """Whether ACLs can be made, because they are looked at."""

    def allows(self, who: Requester, operation: Operation, kind: ResourceType, name: str) -> bool:
        """Whether they may do this to this resource."""

    def allows_any(self, who: Requester, operation: Operation, kind: ResourceType) -> bool:
        """Whether there may be a resource of this kind to which they may do this."""

    def refusal(self, who: Requester, operation: Operation, kind: ResourceType, name: str) -> str:
        """What else a log should say of a denial, beside who, what and where; "" for nothing."""


class AclAuthorizer:
    """Rules A to D over the cluster's ACLs. Raises InvalidConfig for super users that aren't principals."""

    has_acls = True

    def __init__(self, acls: Acls, config: BrokerConfig) -> None:
        self._acls = acls
        self._super_users = super_users(config.get("super.users") or "")
        self._default = config.get_bool("allow.everyone.if.no.acl.found")
        self._by_pattern: dict[tuple[ResourceType, PatternType, str], dict[str, list[Acl]]] = {}
        self._prefix_lengths: dict[ResourceType, list[int]] = {}
        acls.on_change.append(self._index)
        self._index()

    def allows(self, who: Requester, operation: Operation, kind: ResourceType, name: str) -> bool:
        """See the module's text."""
        if who.principal in self._super_users:
            return True
        allowed = any_rule = False
        for rules in self._rules_for(kind, name):
            any_rule = True
            for principal in (who.principal, EVERYBODY):
                for acl in rules.get(principal, ()):
                    if acl.host in (WILDCARD, who.host) and _covers(acl, operation):
                        if acl.permission is Permission.DENY:
                            return False
                        allowed = True
        return allowed or (self._default and not any_rule)

    def allows_any(self, who: Requester, operation: Operation, kind: ResourceType) -> bool:
        """Kafka's `authorizeByResourceType`: an ALLOW that no DENY covers as a whole."""
        if self.allows(who, operation, kind, "hardcode"):  # the name is Kafka's: super users, and rule D
            return True
        denied: set[tuple[PatternType, str]] = set()
        allowed: list[Acl] = []
        for acl in self._acls.matching(AclFilter(kind)):
            if (
                acl.host in (WILDCARD, who.host)
                and acl.principal in (who.principal, EVERYBODY)
                and acl.operation in (operation, Operation.ALL)
            ):
                if acl.permission is Permission.ALLOW:
                    allowed.append(acl)
                else:
                    denied.add((acl.pattern_type, acl.name))
        if (PatternType.LITERAL, WILDCARD) in denied:
            return False
        return any(not _dominated(acl, denied) for acl in allowed)

    def refusal(self, who: Requester, operation: Operation, kind: ResourceType, name: str) -> str:
        """Nothing: ACLs speak of operations themselves."""
        return ""

    def _rules_for(self, kind: ResourceType, name: str) -> Iterator[dict[str, list[Acl]]]:
        literals = (name, WILDCARD) if name != WILDCARD else (name,)
        for literal in literals:
            rules = self._by_pattern.get((kind, PatternType.LITERAL, literal))
            if rules is not None:
                yield rules
        for length in self._prefix_lengths.get(kind, ()):
            if length > len(name):
                return
            rules = self._by_pattern.get((kind, PatternType.PREFIXED, name[:length]))
            if rules is not None:
                yield rules

    def _index(self) -> None:
        self._by_pattern = {}
        lengths: dict[ResourceType, set[int]] = {}
        for acl in self._acls:
            rules = self._by_pattern.setdefault((acl.resource_type, acl.pattern_type, acl.name), {})
            rules.setdefault(acl.principal, []).append(acl)
            if acl.pattern_type is PatternType.PREFIXED:
                lengths.setdefault(acl.resource_type, set()).add(len(acl.name))
        self._prefix_lengths = {kind: sorted(found) for kind, found in lengths.items()}


def super_users(text: str) -> frozenset[str]:
    """The principals in a list with semicolons. Raises InvalidConfig for what isn't `Type:name`."""
    names = frozenset(item.strip() for item in text.split(";") if item.strip())
    for name in names:
        if ":" not in name:
            raise InvalidConfig(f"Invalid value {name} for configuration super.users: expected a principal, User:name")
    return names


def _covers(acl: Acl, operation: Operation) -> bool:
    if acl.operation in (operation, Operation.ALL):
        return True
    if acl.permission is Permission.DENY:
        return False
    if operation is Operation.DESCRIBE:
        return acl.operation in _DESCRIBING
    return operation is Operation.DESCRIBE_CONFIGS and acl.operation in _DESCRIBING_CONFIGS


def _dominated(acl: Acl, denied: set[tuple[PatternType, str]]) -> bool:
    if acl.pattern_type is PatternType.LITERAL:
        if acl.name == WILDCARD:
            return False
        if (PatternType.LITERAL, acl.name) in denied:
            return True
    return any((PatternType.PREFIXED, acl.name[:end]) in denied for end in range(1, len(acl.name) + 1))
