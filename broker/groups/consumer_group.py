"""A consumer group of KIP-848: the coordinator assigns, members reconcile by heartbeat.

    heartbeat ─▶ member changed? topics changed? ─▶ group epoch + 1 ─▶ target assignment of that epoch
                                                                    ─▶ the member's next step towards its target

Every change is written to the group's log first and counts only then: a group that is read back is the same group.
Behaviour after Kafka's GroupMetadataManager and ConsumerGroup. Not here: members that use the classic protocol inside
a consumer group (the live migration from one protocol to the other).
"""

from __future__ import annotations

import uuid
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from kio.schema.errors import ErrorCode

from broker.clock import Clock
from broker.errors import KafkaError
from broker.groups.assignors import ASSIGNORS, MemberSpec, java_order
from broker.groups.consumer_heartbeat import ConsumerHeartbeat, HeartbeatResult, check_epoch
from broker.groups.consumer_member import (
    JOINING,
    LEAVING_FOR_A_WHILE,
    NOTHING,
    ConsumerMember,
    MemberState,
    reconcile,
)
from broker.groups.consumer_records import GroupSnapshot, ResolvedRegex, difference, tombstones
from broker.groups.consumer_topics import TopicsView, compile_pattern, subscribed, topics_hash, topics_of
from broker.groups.internal_topic import Pair
from broker.groups.timers import Timers

REGEX_REFRESH_INTERVAL_MS = 10_000


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """The properties `group.consumer.*` as they apply to one group."""

    session_timeout_ms: int = 45_000
    heartbeat_interval_ms: int = 5_000
    max_size: int = 2**31 - 1
    assignors: Sequence[str] = ("uniform", "range")


class ConsumerGroup:
    """One group. `snapshot` is all its state; `store` writes records to the group's log or raises KafkaError."""

    kind = "consumer"
    protocol_type = "consumer"

    def __init__(
        self,
        group_id: str,
        *,
        clock: Clock,
        timers: Timers,
        settings: Callable[[], ConsumerSettings],
        topics: TopicsView,
        store: Callable[[str, Sequence[Pair]], None],
        is_suspended: Callable[[], bool] = lambda: False,
        snapshot: GroupSnapshot | None = None,
    ) -> None:
        self.group_id = group_id
        self.snapshot = snapshot or GroupSnapshot()
        self._clock = clock
        self._timers = timers
        self._settings = settings
        self._topics = topics
        self._store = store
        self._is_suspended = is_suspended
        self._regexes_refreshed_ms = 0
        self._hashed: set[str] | None = None
        """The topics that the metadata hash was computed of; None: not since the group was read back."""
        self.interrupt()

    # --- what the group is -------------------------------------------------------------------------------------------

    @property
    def members(self) -> Mapping[str, ConsumerMember]:
        """Members by id."""
        return self.snapshot.members

    @property
    def state_name(self) -> str:
        """Kafka's name for the state."""
        snapshot = self.snapshot
        if not snapshot.members:
            return "Empty"
        if snapshot.epoch > snapshot.target_epoch:
            return "Assigning"
        if all(member.is_reconciled_to(snapshot.target_epoch) for member in snapshot.members.values()):
            return "Stable"
        return "Reconciling"

    @property
    def is_empty(self) -> bool:
        """Whether the group has no members."""
        return not self.snapshot.members

    @property
    def is_deserted(self) -> bool:
        """Whether the group may go once it has no positions."""
        return self.is_empty

    @property
    def assignor_name(self) -> str:
        """The assignor that most members ask for."""
        return self._assignor_of(self.snapshot)

    def is_subscribed_to(self, topic: str) -> bool:
        """Whether a member consumes the topic."""
        return topic in subscribed(self.snapshot)

    def expires_since(self, topic: str, commit_timestamp_ms: int) -> int | None:
        """The time (ms) from which on a position's retention counts, None while it doesn't."""
        return None if self.is_subscribed_to(topic) else commit_timestamp_ms

    # --- positions ---------------------------------------------------------------------------------------------------

    def validate_offset_commit(
        self, member_id: str, group_instance_id: str | None, epoch: int, *, transactional: bool, api_version: int
    ) -> None:
        """Raise unless a commit with these credentials is allowed now (Kafka's ConsumerGroup#validateOffsetCommit)."""
        if epoch < 0 and self.is_empty:
            return
        if transactional and epoch == -1 and not member_id and group_instance_id is None:
            return
        member = self._member(member_id)
        if not transactional and api_version < 9:
            raise KafkaError(ErrorCode.unsupported_version)
        if epoch != member.epoch:
            raise KafkaError(ErrorCode.illegal_generation if transactional else ErrorCode.stale_member_epoch)

    def validate_offset_fetch(self, member_id: str | None, epoch: int) -> None:
        """Raise unless the member is who it says it is; nobody in particular may always read."""
        if member_id is None and epoch < 0:
            return
        if self._member(member_id or "").epoch != epoch:
            raise KafkaError(ErrorCode.stale_member_epoch)

    def validate_offset_delete(self) -> None:
        """Positions of topics that nobody consumes may always go."""

    def extend_session(self, member_id: str) -> None:
        """Unlike in a classic group, a commit is no heartbeat."""

    # --- heartbeats --------------------------------------------------------------------------------------------------

    def heartbeat(self, request: ConsumerHeartbeat) -> HeartbeatResult:
        """Join, or stay and take the next step. Raises KafkaError; then nothing has changed."""
        settings = self._settings()
        if request.member_id not in self.members and len(self.members) >= settings.max_size:
            raise KafkaError(
                ErrorCode.group_max_size_reached,
                f"The consumer group has reached its maximum capacity of {settings.max_size} members.",
            )
        member_id = request.member_id or new_member_id()
        draft, member = self._admit(request, member_id)
        updated = replace(
            member,
            instance_id=member.instance_id if request.instance_id is None else request.instance_id,
            rack_id=member.rack_id if request.rack_id is None else request.rack_id,
            rebalance_timeout_ms=(
                member.rebalance_timeout_ms if request.rebalance_timeout_ms == -1 else request.rebalance_timeout_ms
            ),
            assignor=member.assignor if request.assignor is None else request.assignor,
            topics=member.topics if request.topics is None else request.topics,
            regex=member.regex if request.regex is None else request.regex,
            client_id=request.client_id,
            client_host=request.client_host,
        )
        bump = draft.epoch == 0 or updated.topics != member.topics
        draft = replace(draft, members={**draft.members, member_id: member if updated == member else updated})
        draft, regex_bump = self._with_regex(draft, member.regex, updated.regex)
        draft = self._with_topics(draft, bump=bump or regex_bump)
        if draft.epoch > draft.target_epoch:
            draft = self._with_targets(draft)
        holders = {partition for each in self.members.values() for partition in each.held}
        stepped = reconcile(
            updated,
            draft.target_epoch,
            draft.targets.get(member_id, NOTHING),
            request.owned,
            holders.__contains__,
        )
        if stepped != draft.members[member_id]:
            draft = replace(draft, members={**draft.members, member_id: stepped})
        self._commit(draft)
        self._expect_heartbeat(member_id, settings.session_timeout_ms)
        if stepped is not updated:
            self._watch_revocation(stepped)
        if self._regexes_due():
            self._timers.schedule(("consumer-regex", self.group_id), 0, lambda: self._resolve_regexes(request.sees))
        answered = request.is_full or stepped.assigned != member.assigned
        return HeartbeatResult(
            member_id, stepped.epoch, settings.heartbeat_interval_ms, stepped.assigned if answered else None
        )

    def _admit(self, request: ConsumerHeartbeat, member_id: str) -> tuple[GroupSnapshot, ConsumerMember]:
        """The member as it was, or a new one; a static member may take the place of its former self."""
        joins = request.member_epoch == JOINING
        existing = None if request.instance_id is None else self._static_member(request.instance_id)
        if request.instance_id is None or (joins and existing is None):
            member = ConsumerMember(member_id) if joins and member_id not in self.members else self._member(member_id)
            if request.instance_id is None:
                check_epoch(member, request)
            return self.snapshot, member
        if existing is None or not joins:
            member = self._named(member_id, request.instance_id)
            check_epoch(member, request)
            return self.snapshot, member
        if existing.epoch != LEAVING_FOR_A_WHILE:
            raise KafkaError(
                ErrorCode.unreleased_instance_id,
                f"Static member {member_id} with instance id {request.instance_id} cannot join the group because the "
                f"instance id is owned by {existing.member_id} member.",
            )
        heir = replace(existing, member_id=member_id, epoch=0, previous_epoch=0)
        members = {each: self.members[each] for each in self.members if each != existing.member_id}
        targets = {each: self.snapshot.targets[each] for each in self.snapshot.targets if each != existing.member_id}
        targets[member_id] = self.snapshot.targets.get(existing.member_id, NOTHING)
        return replace(self.snapshot, members=members, targets=targets), heir

    def leave(self, request: ConsumerHeartbeat) -> HeartbeatResult:
        """The member leaves, for good (-1) or, a static one, for a while (-2). Raises KafkaError."""
        member = self._named(request.member_id, request.instance_id)
        if request.member_epoch == LEAVING_FOR_A_WHILE:
            away = replace(member, epoch=LEAVING_FOR_A_WHILE, revoking=NOTHING)
            self._commit(replace(self.snapshot, members={**self.members, member.member_id: away}))
        else:
            self._remove({member.member_id})
        return HeartbeatResult(request.member_id, request.member_epoch)

    def remove(self, members: Sequence[tuple[str, str | None]]) -> list[ErrorCode]:
        """LeaveGroup of the classic protocol, which removes members of the new one too; one error code each."""
        codes, gone = [], set()
        for member_id, instance_id in members:
            try:
                gone.add(self._named(member_id, instance_id, or_instance_alone=True).member_id)
            except KafkaError as error:
                codes.append(error.code)
            else:
                codes.append(ErrorCode.none)
        if gone:
            self._remove(gone)
        return codes

    # --- timeouts ----------------------------------------------------------------------------------------------------

    def _expect_heartbeat(self, member_id: str, timeout_ms: int) -> None:
        self._timers.schedule(self._session_key(member_id), timeout_ms, lambda: self._session_ended(member_id))

    def _session_ended(self, member_id: str) -> None:
        self._evict(member_id, lambda: self._expect_heartbeat(member_id, self._settings().session_timeout_ms))

    def _watch_revocation(self, member: ConsumerMember) -> None:
        """Give a member that has to give up partitions its rebalance timeout for it."""
        key = self._rebalance_key(member.member_id)
        if member.state is not MemberState.UNREVOKED_PARTITIONS:
            self._timers.cancel(key)
            return

        def ended() -> None:
            present = self.members.get(member.member_id)
            if present is not None and present.epoch == member.epoch:
                self._evict(member.member_id, lambda: self._watch_revocation(present))

        self._timers.schedule(key, member.rebalance_timeout_ms, ended)

    def _evict(self, member_id: str, again: Callable[[], None]) -> None:
        """Remove a member whose time is up, unless nobody could reach the coordinator, or it can't write that down."""
        if member_id not in self.members:
            return
        if self._is_suspended():
            again()
            return
        try:
            self._remove({member_id})
        except KafkaError:
            again()

    def _remove(self, member_ids: Collection[str]) -> None:
        members = {each: self.members[each] for each in self.members if each not in member_ids}
        targets = {each: self.snapshot.targets[each] for each in self.snapshot.targets if each not in member_ids}
        patterns = {member.regex for member in members.values()}
        regexes = {name: found for name, found in self.snapshot.regexes.items() if name in patterns}
        draft = replace(self.snapshot, members=members, targets=targets, regexes=regexes)
        self._commit(self._with_topics(draft, bump=True))

    # --- epochs and targets ------------------------------------------------------------------------------------------

    def _with_topics(self, draft: GroupSnapshot, *, bump: bool) -> GroupSnapshot:
        """The draft at the next epoch if something changed: the subscriptions (`bump`) or the topics themselves."""
        untouched = self._hashed is not None and topics_hash(self._topics, self._hashed) == draft.metadata_hash
        if untouched and not bump:
            return draft
        self._hashed = subscribed(draft)
        found = topics_hash(self._topics, self._hashed)
        if not bump and found == draft.metadata_hash:
            return draft
        return replace(draft, epoch=draft.epoch + 1, metadata_hash=found)

    def _with_targets(self, draft: GroupSnapshot) -> GroupSnapshot:
        partitions: dict[uuid.UUID, int] = {}
        ids: dict[str, uuid.UUID] = {}
        for name in subscribed(draft):
            topic = self._topics.find(name)
            if topic is not None:
                ids[name], partitions[topic[0]] = topic
        specs = {
            member.member_id: MemberSpec(
                frozenset(ids[name] for name in topics_of(member, draft.regexes) if name in ids),
                member.instance_id,
                draft.targets.get(member.member_id, NOTHING),
            )
            for member in draft.members.values()
        }
        targets = ASSIGNORS[self._assignor_of(draft)](specs, partitions)
        return replace(draft, target_epoch=draft.epoch, targets=targets)

    def _assignor_of(self, snapshot: GroupSnapshot) -> str:
        wishes = Counter(member.assignor for member in snapshot.members.values() if member.assignor is not None)
        if not wishes:
            return self._settings().assignors[0]
        return max(java_order(wishes), key=wishes.__getitem__)  # of equals, any will do: Kafka takes this or that

    # --- patterns ----------------------------------------------------------------------------------------------------

    def _with_regex(self, draft: GroupSnapshot, old: str, new: str) -> tuple[GroupSnapshot, bool]:
        """The draft after a member changed its pattern, and whether that changes subscriptions at once.

        A pattern that nobody had before does so when it is resolved; until then the member keeps what it has.
        """
        if old == new:
            return draft, False
        regexes = dict(draft.regexes)
        left = old in regexes
        if old and all(member.regex != old for member in draft.members.values()):
            regexes.pop(old, None)
        if new and all(member.regex != new for member in self.members.values()):
            compile_pattern(new)
            self._regexes_refreshed_ms = 0
        return replace(draft, regexes=regexes), new in regexes or (left and not new)

    def _regexes_due(self) -> bool:
        now = self._clock.now_ms()
        return (
            any(member.regex for member in self.members.values())
            and now > self._regexes_refreshed_ms + REGEX_REFRESH_INTERVAL_MS
        )

    def _resolve_regexes(self, sees: Callable[[str], bool]) -> None:
        """Look which topics the patterns stand for now; members learn of a difference by their next heartbeats."""
        now = self._regexes_refreshed_ms = self._clock.now_ms()
        names = list(self._topics.names())
        regexes = {}
        bump = False
        for pattern in sorted({member.regex for member in self.members.values() if member.regex}):
            compiled = compile_pattern(pattern)
            found = frozenset(name for name in names if compiled.fullmatch(name) and sees(name))
            known = self.snapshot.regexes.get(pattern)
            if known is not None and known.topics == found:
                regexes[pattern] = known
                continue
            regexes[pattern] = ResolvedRegex(found, now)
            followers = (member for member in self.members.values() if member.regex == pattern)
            bump |= bool(found) or known is not None or any(member.held for member in followers)
        if regexes == self.snapshot.regexes:
            return
        try:
            self._commit(self._with_topics(replace(self.snapshot, regexes=regexes), bump=bump))
        except KafkaError:
            self._regexes_refreshed_ms = 0  # the next heartbeat asks again

    # --- life and death ----------------------------------------------------------------------------------------------

    def interrupt(self, error: ErrorCode = ErrorCode.none) -> None:
        """The coordinator has moved: members have their full timeouts to find it. No request is ever parked here."""
        timeout_ms = self._settings().session_timeout_ms
        for member in self.members.values():
            self._expect_heartbeat(member.member_id, timeout_ms)
            self._watch_revocation(member)

    def tombstones(self) -> list[Pair]:
        """The records that delete the group."""
        return tombstones(self.group_id, self.snapshot)

    def die(self, error: ErrorCode = ErrorCode.none) -> None:
        """The group is deleted: no timer of it is left."""
        for member_id in self.members:
            self._forget_timers(member_id)
        self._timers.cancel(("consumer-regex", self.group_id))

    # --- internals ---------------------------------------------------------------------------------------------------

    def _commit(self, draft: GroupSnapshot) -> None:
        pairs = difference(self.group_id, self.snapshot, draft)
        if pairs:
            self._store(self.group_id, pairs)
        gone = self.members.keys() - draft.members.keys()
        self.snapshot = draft
        for member_id in gone:
            self._forget_timers(member_id)

    def _member(self, member_id: str) -> ConsumerMember:
        member = self.members.get(member_id)
        if member is None:
            raise KafkaError(
                ErrorCode.unknown_member_id, f"Member {member_id} is not a member of group {self.group_id}."
            )
        return member

    def _static_member(self, instance_id: str) -> ConsumerMember | None:
        return next((member for member in self.members.values() if member.instance_id == instance_id), None)

    def _named(self, member_id: str, instance_id: str | None, *, or_instance_alone: bool = False) -> ConsumerMember:
        """The member of this id, which has to be the static member of that instance id if one is given."""
        if instance_id is None:
            return self._member(member_id)
        existing = self._static_member(instance_id)
        if existing is None:
            raise KafkaError(ErrorCode.unknown_member_id, f"Instance id {instance_id} is unknown.")
        if existing.member_id != member_id and (member_id or not or_instance_alone):
            raise KafkaError(
                ErrorCode.fenced_instance_id,
                f"Static member {member_id} with instance id {instance_id} was fenced by member {existing.member_id}.",
            )
        return existing

    def _forget_timers(self, member_id: str) -> None:
        self._timers.cancel(self._session_key(member_id))
        self._timers.cancel(self._rebalance_key(member_id))

    def _session_key(self, member_id: str) -> tuple[str, str, str]:
        return ("consumer-session", self.group_id, member_id)

    def _rebalance_key(self, member_id: str) -> tuple[str, str, str]:
        return ("consumer-rebalance", self.group_id, member_id)


def new_member_id() -> str:
    """A member id as Kafka makes them for members that bring none."""
    return urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
