"""A member of a consumer group (KIP-848), and how its partitions move towards the target assignment.

A  A partition that a member has to give up stays its own until the member no longer reports it as owned.
B  A partition is given to a member only when no other member holds it.
C  A member's epoch only grows while it is a member; it reaches the target epoch when nothing is left to give up.

Behaviour after Kafka's ConsumerGroupMember and CurrentAssignmentBuilder.
"""

from __future__ import annotations

import enum
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace

Assignment = frozenset[tuple[uuid.UUID, int]]
"""Partitions as `(topic id, index)`."""

NOTHING: Assignment = frozenset()
JOINING = 0
LEAVING = -1
LEAVING_FOR_A_WHILE = -2
"""The member epoch of a static member that says it will be back."""


class MemberState(enum.IntEnum):
    """How far the member is on its way to the target assignment, numbered as Kafka stores it."""

    STABLE = 0
    UNREVOKED_PARTITIONS = 1
    UNRELEASED_PARTITIONS = 2


@dataclass(frozen=True, slots=True)
class ConsumerMember:
    """One member as it is stored. Times in ms."""

    member_id: str
    instance_id: str | None = None
    rack_id: str | None = None
    client_id: str = ""
    client_host: str = ""
    rebalance_timeout_ms: int = -1
    topics: frozenset[str] = frozenset()
    regex: str = ""
    assignor: str | None = None
    epoch: int = 0
    previous_epoch: int = -1
    state: MemberState = MemberState.STABLE
    assigned: Assignment = NOTHING
    revoking: Assignment = NOTHING

    @property
    def held(self) -> Assignment:
        """Everything that nobody else may get yet."""
        return self.assigned | self.revoking

    def is_reconciled_to(self, target_epoch: int) -> bool:
        """Whether the member has all that it is to have, and nothing else."""
        return self.state is MemberState.STABLE and self.epoch == target_epoch


def reconcile(
    member: ConsumerMember,
    target_epoch: int,
    target: Assignment,
    owned: Assignment | None,
    is_held: Callable[[tuple[uuid.UUID, int]], bool],
) -> ConsumerMember:
    """The member after its next step towards the target.

    `owned` is what the member says it owns, None if it doesn't say. `is_held` tells whether any member holds a
    partition at the moment, this one included.
    """
    if member.is_reconciled_to(target_epoch):
        return member
    epoch = member.epoch
    if member.state is MemberState.UNREVOKED_PARTITIONS:
        if owned is None or owned & member.revoking:
            return member
        epoch += 1
    kept = member.assigned & target
    to_revoke = member.assigned - kept
    missing = target - kept
    free = frozenset(partition for partition in missing if not is_held(partition))
    if to_revoke and (owned is None or owned & to_revoke):
        return replace(
            member,
            state=MemberState.UNREVOKED_PARTITIONS,
            epoch=epoch,
            previous_epoch=member.epoch,
            assigned=kept,
            revoking=to_revoke,
        )
    return replace(
        member,
        state=MemberState.UNRELEASED_PARTITIONS if free != missing else MemberState.STABLE,
        epoch=target_epoch,
        previous_epoch=member.epoch,
        assigned=kept | free,
        revoking=NOTHING,
    )
