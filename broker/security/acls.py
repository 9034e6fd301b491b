"""ACLs: one rule each, the filters that find them, and the set of all of them that a cluster has.

Behaviour of Kafka's `AclControlManager` and `AclBindingFilter`. Rules for principals of other types than User are kept
and described, and match nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.security.resources import Operation, PatternType, Permission, ResourceType

WILDCARD = "*"
"""As a literal resource name, a host or the name of a user: all of them."""
MAX_CHANGES = 10_000
"""How many rules one request may make or delete (Kafka: MAX_RECORDS_PER_USER_OP)."""

Row = tuple[int, str, int, str, str, int, int]


@dataclass(frozen=True, slots=True)
class Acl:
    """Principals at hosts may (or may not) do something to the resources that match a pattern."""

    resource_type: ResourceType
    name: str
    pattern_type: PatternType
    principal: str
    host: str
    operation: Operation
    permission: Permission

    def row(self) -> Row:
        """Itself as plain values, for storage."""
        return astuple(self)

    @classmethod
    def from_row(cls, row: Sequence[Any]) -> Acl:
        """The opposite of `row`. Raises ValueError or TypeError for anything else."""
        kind, name, pattern, principal, host, operation, permission = row
        acl = cls(
            ResourceType(kind),
            str(name),
            PatternType(pattern),
            str(principal),
            str(host),
            Operation(operation),
            Permission(permission),
        )
        problem = _problem(acl)
        if problem:
            raise ValueError(problem)
        return acl


@dataclass(frozen=True, slots=True)
class AclFilter:
    """Which rules are meant. None and ANY leave a field open.

    With MATCH the name is that of a resource, and rules are found that would apply to it.
    """

    resource_type: ResourceType = ResourceType.ANY
    name: str | None = None
    pattern_type: PatternType = PatternType.ANY
    principal: str | None = None
    host: str | None = None
    operation: Operation = Operation.ANY
    permission: Permission = Permission.ANY

    def problem(self) -> str | None:
        """Why nothing can be deleted with it, or None."""
        if ResourceType.UNKNOWN is self.resource_type or PatternType.UNKNOWN is self.pattern_type:
            return "Unknown patternFilter."
        if Operation.UNKNOWN is self.operation or Permission.UNKNOWN is self.permission:
            return "Unknown entryFilter."
        return None

    def matches(self, acl: Acl) -> bool:
        """Whether the rule is meant."""
        return (
            self.resource_type in (ResourceType.ANY, acl.resource_type)
            and self._names(acl)
            and (self.principal is None or self.principal == acl.principal)
            and (self.host is None or self.host == acl.host)
            and self.operation in (Operation.ANY, acl.operation)
            and self.permission in (Permission.ANY, acl.permission)
        )

    def _names(self, acl: Acl) -> bool:
        if self.pattern_type not in (PatternType.ANY, PatternType.MATCH, acl.pattern_type):
            return False
        if self.name is None:
            return True
        if self.pattern_type is not PatternType.MATCH:
            return self.name == acl.name
        if acl.pattern_type is PatternType.PREFIXED:
            return self.name.startswith(acl.name)
        return acl.name in (self.name, WILDCARD)


class Acls:
    """All rules of a cluster. `on_change` is called after rules have come or gone."""

    def __init__(self, rules: Iterable[Acl] = ()) -> None:
        self._rules: dict[Acl, None] = dict.fromkeys(rules)
        self.on_change: list[Callable[[], None]] = []

    def __iter__(self) -> Iterator[Acl]:
        return iter(self._rules)

    def __len__(self) -> int:
        return len(self._rules)

    def create(self, wanted: Sequence[Acl]) -> list[KafkaError | None]:
        """Add rules; one answer each, None when it is there now, whether or not it was before.

        Raises KafkaError when there are too many at once.
        """
        problems = [_problem(acl) for acl in wanted]
        fresh = {acl: None for acl, problem in zip(wanted, problems, strict=True) if not problem} - self._rules.keys()
        if len(fresh) > MAX_CHANGES:
            raise KafkaError(ErrorCode.policy_violation, f"Cannot create more than {MAX_CHANGES} acls at once.")
        added = [acl for acl in dict.fromkeys(wanted) if acl in fresh]
        self._rules.update(dict.fromkeys(added))
        self._changed(bool(added))
        return [KafkaError(ErrorCode.invalid_request, problem) if problem else None for problem in problems]

    def delete(self, filters: Sequence[AclFilter]) -> list[list[Acl] | KafkaError]:
        """Remove what any of the filters means; for each filter what it found, or why it can't be used.

        All of them are applied to the rules as they are now, so that one rule may be found more than once.
        """
        found: list[list[Acl] | KafkaError] = []
        doomed: dict[Acl, None] = {}
        for item in filters:
            problem = item.problem()
            if problem:
                found.append(KafkaError(ErrorCode.invalid_request, problem))
                continue
            matching = self.matching(item)
            found.append(matching)
            doomed.update(dict.fromkeys(matching))
        if len(doomed) > MAX_CHANGES:
            raise KafkaError(
                ErrorCode.policy_violation, f"Cannot remove more than {MAX_CHANGES} acls in a single delete operation."
            )
        for acl in doomed:
            del self._rules[acl]
        self._changed(bool(doomed))
        return found

    def matching(self, wanted: AclFilter) -> list[Acl]:
        """The rules that a filter means, in the order in which they were made."""
        return [acl for acl in self._rules if wanted.matches(acl)]

    def _changed(self, changed: bool) -> None:
        if changed:
            for callback in self.on_change:
                callback()


def _problem(acl: Acl) -> str | None:
    if acl.resource_type in (ResourceType.UNKNOWN, ResourceType.ANY):
        return f"Invalid resourceType {acl.resource_type.name}"
    if acl.pattern_type not in (PatternType.LITERAL, PatternType.PREFIXED):
        return f"Invalid patternType {acl.pattern_type.name}"
    if acl.operation in (Operation.UNKNOWN, Operation.ANY):
        return f"Invalid operation {acl.operation.name}"
    if acl.permission not in (Permission.DENY, Permission.ALLOW):
        return f"Invalid permissionType {acl.permission.name}"
    if not acl.name:
        return "Resource name should not be empty"
    if ":" not in acl.principal:
        return (
            f"Could not parse principal from `{acl.principal}` "
            "(no colon is present separating the principal type from the principal name)"
        )
    return None
