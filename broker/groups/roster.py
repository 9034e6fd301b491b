"""Who is in a classic group: members, their instance ids, the leader, and the protocols they have in common."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.groups.member import JoinedMember, Member, SyncResult


class Roster:
    """Members in the order they came. Knows nothing of states, timers or requests."""

    def __init__(self) -> None:
        self.members: dict[str, Member] = {}
        self.leader: str | None = None
        self.awaiting_first_join: set[str] = set()
        self._static: dict[str, str] = {}

    def add(self, member: Member) -> None:
        """Add a member; the first one leads."""
        self.members[member.member_id] = member
        if member.group_instance_id is not None:
            self._static[member.group_instance_id] = member.member_id
        self.leader = self.leader or member.member_id
        self.awaiting_first_join.discard(member.member_id)

    def remove(self, member_id: str) -> None:
        """Remove a member, or an id that was given out and hasn't joined yet; the next member leads."""
        member = self.members.pop(member_id, None)
        if member is not None:
            if member.group_instance_id is not None:
                self._static.pop(member.group_instance_id, None)
            member.answer_sync(SyncResult(ErrorCode.unknown_member_id))
        if self.leader == member_id:
            self.leader = next(iter(self.members), None)
        self.awaiting_first_join.discard(member_id)

    def static_member(self, group_instance_id: str | None) -> str | None:
        """The member id behind an instance id."""
        return None if group_instance_id is None else self._static.get(group_instance_id)

    def rename_static(self, old_id: str, new_id: str) -> Member:
        """The static member `old_id` is known as `new_id` from now on."""
        member = self.members.pop(old_id)
        assert member.group_instance_id is not None
        member.member_id = new_id
        self.members[new_id] = member
        self._static[member.group_instance_id] = new_id
        if self.leader == old_id:
            self.leader = new_id
        return member

    def validate(self, member_id: str, group_instance_id: str | None) -> None:
        """Raise UNKNOWN_MEMBER_ID or FENCED_INSTANCE_ID unless this is the member it claims to be."""
        if group_instance_id is not None:
            existing = self._static.get(group_instance_id)
            if existing is None:
                raise KafkaError(ErrorCode.unknown_member_id)
            if existing != member_id:
                raise KafkaError(ErrorCode.fenced_instance_id)
        if member_id not in self.members:
            raise KafkaError(ErrorCode.unknown_member_id)

    def elect_leader(self) -> bool:
        """Keep the leader if it has rejoined, else take one that has; False when nobody has."""
        leader = self.members.get(self.leader or "")
        if leader is None or not leader.awaits_join:
            joined = next((each.member_id for each in self.members.values() if each.awaits_join), None)
            if joined is None:
                return False
            self.leader = joined
        return True

    @property
    def all_joined(self) -> bool:
        """Whether everybody waits in JoinGroup, including those who were only given an id so far."""
        return not self.awaiting_first_join and all(member.awaits_join for member in self.members.values())

    @property
    def rebalance_timeout_ms(self) -> int:
        """The longest of the members' rebalance timeouts."""
        return max((member.rebalance_timeout_ms for member in self.members.values()), default=0)

    def supports(self, protocols: Collection[str]) -> bool:
        """Whether one of the protocols is supported by every member; without members any will do."""
        common = self._candidates() if self.members else protocols
        return any(name in common for name in protocols)

    def select_protocol(self) -> str:
        """The protocol that all support and most prefer."""
        candidates = self._candidates()
        votes = Counter(member.vote(candidates) for member in self.members.values())
        return votes.most_common(1)[0][0]

    def as_seen_by_leader(self, protocol: str | None) -> list[JoinedMember]:
        """All members with their metadata for the protocol."""
        return [
            JoinedMember(each.member_id, each.group_instance_id, each.metadata(protocol))
            for each in self.members.values()
        ]

    def _candidates(self) -> set[str]:
        counts = Counter(name for member in self.members.values() for name in {name for name, _ in member.protocols})
        return {name for name, count in counts.items() if count == len(self.members)}
