"""What the syncers have in common: each finds what differs, says it, and changes it.

`Syncer.plan()` only reads, so that `replicator plan` prints what `replicator run` would do; `apply()` is the
controller's. What can't be made equal is `Held`: it is shown with its reason, and doesn't hold up the rest.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol


class Kind(StrEnum):
    """What a change concerns, in the order in which changes are made."""

    TOPIC = "topic"
    PARTITIONS = "partitions"
    CONFIG = "config"
    ACL = "acl"
    GROUP = "group"


@dataclass(frozen=True, slots=True)
class Change:
    """One difference on the target, and how it ends: `resource` is the target's name of the topic, group or ACL's
    pattern, `what` the setting, partition or permission; None as `before` or `after` means that it isn't there."""

    kind: Kind
    resource: str
    what: str
    before: str | None
    after: str | None


class Why(StrEnum):
    """Why something isn't kept in step."""

    NOT_AUTHORIZED = "NOT_AUTHORIZED"  # `detail` names the ACL to grant
    UNSUPPORTED = "UNSUPPORTED"  # the target's brokers don't know it
    REFUSED = "REFUSED"  # the target's answer is in `detail`
    NO_AUTHORIZER = "NO_AUTHORIZER"
    ACTIVE = "ACTIVE"  # the group has members on the target
    DIVERGED = "DIVERGED"  # somebody else has moved the position on the target
    NOT_COPIED = "NOT_COPIED"  # none of the group's topics is copied, or this one isn't yet
    INEXACT = "INEXACT"  # the position is right or somewhat early; `detail` says by how much


@dataclass(frozen=True, slots=True)
class Held:
    """What differs and stays so until somebody does something, or until it heals; `detail` says what comes next."""

    kind: Kind
    resource: str
    why: Why
    detail: str


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """What one syncer found: what it would do now, and what it can't do anything about."""

    changes: tuple[Change, ...] = ()
    held: tuple[Held, ...] = ()


class Syncer(Protocol):
    """One of the things that are kept in step. Only the owner of lane 0 calls `apply`; it may be killed at any point,
    and calling it again is harmless."""

    async def plan(self) -> SyncPlan:
        """What differs now. Reads only. ReplicatorError when a cluster doesn't answer."""
        ...

    async def apply(self, plan: SyncPlan) -> tuple[Held, ...]:
        """Make the plan's changes, if there are any; what the target refused."""
        ...
