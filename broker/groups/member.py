"""Members of a classic consumer group, and what JoinGroup and SyncGroup answer them."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from kio.schema.errors import ErrorCode

Protocols = tuple[tuple[str, bytes], ...]
"""A member's protocols in its order of preference: `(name, metadata)`."""


@dataclass(frozen=True, slots=True)
class JoinedMember:
    """A member as its leader sees it in the JoinGroup response."""

    member_id: str
    group_instance_id: str | None
    metadata: bytes


@dataclass(frozen=True, slots=True)
class JoinResult:
    """The answer to a JoinGroup request, in no particular version."""

    error: ErrorCode = ErrorCode.none
    member_id: str = ""
    generation: int = -1
    protocol_type: str | None = None
    protocol_name: str | None = None
    leader: str = ""
    members: Sequence[JoinedMember] = ()
    skip_assignment: bool = False


@dataclass(frozen=True, slots=True)
class SyncResult:
    """The answer to a SyncGroup request, in no particular version."""

    error: ErrorCode = ErrorCode.none
    protocol_type: str | None = None
    protocol_name: str | None = None
    assignment: bytes = b""


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A JoinGroup request, in no particular version. Timeouts in ms."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    session_timeout_ms: int
    rebalance_timeout_ms: int
    protocol_type: str
    protocols: Protocols
    requires_known_member_id: bool = False
    supports_skipping_assignment: bool = False


@dataclass(eq=False, slots=True)
class Member:
    """One member; `join_waiter` and `sync_waiter` are its parked requests."""

    member_id: str
    group_instance_id: str | None
    client_id: str
    client_host: str
    rebalance_timeout_ms: int
    session_timeout_ms: int
    protocol_type: str
    protocols: Protocols
    assignment: bytes = b""
    is_new: bool = False
    join_waiter: asyncio.Future[JoinResult] | None = field(default=None, repr=False)
    sync_waiter: asyncio.Future[SyncResult] | None = field(default=None, repr=False)

    @property
    def is_static(self) -> bool:
        """Whether the member has a group.instance.id (KIP-345)."""
        return self.group_instance_id is not None

    @property
    def awaits_join(self) -> bool:
        """Whether a JoinGroup request of this member is parked."""
        return self.join_waiter is not None

    @property
    def satisfies_heartbeat(self) -> bool:
        """Members whose requests are parked can't send heartbeats; new ones may be expired all the same."""
        return not self.is_new and (self.join_waiter is not None or self.sync_waiter is not None)

    def metadata(self, protocol: str | None) -> bytes:
        """What the member said about itself under `protocol`."""
        return next((data for name, data in self.protocols if name == protocol), b"")

    def vote(self, candidates: Collection[str]) -> str:
        """The member's favourite among the candidates."""
        return next(name for name, _ in self.protocols if name in candidates)

    def answer_join(self, result: JoinResult) -> bool:
        """Answer the parked JoinGroup, if there is one."""
        waiter, self.join_waiter = self.join_waiter, None
        if waiter is None:
            return False
        if not waiter.done():
            waiter.set_result(result)
        return True

    def answer_sync(self, result: SyncResult) -> bool:
        """Answer the parked SyncGroup, if there is one."""
        waiter, self.sync_waiter = self.sync_waiter, None
        if waiter is None:
            return False
        if not waiter.done():
            waiter.set_result(result)
        return True
