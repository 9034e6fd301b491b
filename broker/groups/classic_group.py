"""The state machine of a classic consumer group.

    Empty ──join──▶ PreparingRebalance ──all joined, or time is up──▶ CompletingRebalance ──leader's sync──▶ Stable
      ▲                 ▲      │ nobody left                                 │ a member changes, goes or fails   │
      └─────────────────┼──────┘                                             └──────────────────┬────────────────┘
                        └───────────────────────────────────────────────────────────────────────┘

Behaviour after Kafka's GroupMetadataManager and ClassicGroup, KIP-345 (static members), KIP-394 (a member id is given
before a member counts), KIP-814 (a static leader that returns skips the assignment). Not here: the live upgrade to
the consumer protocol of KIP-848.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping

from kio.schema.errors import ErrorCode

from broker.clock import Clock
from broker.errors import KafkaError
from broker.groups.classic_state import GroupSettings, GroupState
from broker.groups.member import JoinRequest, JoinResult, Member, SyncResult
from broker.groups.roster import Roster
from broker.groups.subscription import subscribed_topics
from broker.groups.timers import Timers

NEW_MEMBER_JOIN_TIMEOUT_MS = 5 * 60 * 1000
CONSUMER_PROTOCOL_TYPE = "consumer"

Store = Callable[["ClassicGroup", Mapping[str, bytes]], None]
"""Writes the group with these assignments by member id to the group's log; raises KafkaError when it can't."""


class ClassicGroup:
    """One group. All methods are synchronous; what has to wait gets a future that is completed later."""

    kind = "classic"

    def __init__(
        self,
        group_id: str,
        *,
        clock: Clock,
        timers: Timers,
        settings: GroupSettings,
        store: Store,
        is_suspended: Callable[[], bool] = lambda: False,
    ) -> None:
        self.group_id = group_id
        self.state = GroupState.EMPTY
        self.previous_state = GroupState.EMPTY
        self.state_timestamp_ms: int | None = None
        self.generation = 0
        self.protocol_type: str | None = None
        self.protocol_name: str | None = None
        self.roster = Roster()
        self.subscribed_topics: frozenset[str] | None = None
        self._pending_sync: set[str] = set()
        self._new_member_added = False
        self._clock = clock
        self._timers = timers
        self._settings = settings
        self._store = store
        self._is_suspended = is_suspended

    # --- what the group is -------------------------------------------------------------------------------------------

    @property
    def is_consumer_group(self) -> bool:
        """Whether its members use the consumer protocol, so that subscriptions can be read."""
        return self.protocol_type == CONSUMER_PROTOCOL_TYPE

    @property
    def members(self) -> Mapping[str, Member]:
        """Members by id, in the order they came."""
        return self.roster.members

    def is_subscribed_to(self, topic: str) -> bool:
        """Whether a member consumes the topic; unknown subscriptions of a consumer group count as all topics."""
        if self.subscribed_topics is not None:
            return topic in self.subscribed_topics
        return self.is_consumer_group

    @property
    def state_name(self) -> str:
        """Kafka's name for the state."""
        return self.state.value

    @property
    def is_empty(self) -> bool:
        """Whether the group has no members that count."""
        return self.state is GroupState.EMPTY

    @property
    def is_deserted(self) -> bool:
        """Whether the group may go once it has no positions."""
        return self.is_empty and not self.roster.awaiting_first_join

    def expires_since(self, topic: str, commit_timestamp_ms: int) -> int | None:
        """The time (ms) from which on a position's retention counts, None while it doesn't."""
        if self.protocol_type is None:
            return commit_timestamp_ms
        if self.state is GroupState.EMPTY:
            return commit_timestamp_ms if self.state_timestamp_ms is None else self.state_timestamp_ms
        if self.state is GroupState.STABLE and not self.is_subscribed_to(topic):
            return commit_timestamp_ms
        return None

    def validate_offset_fetch(self, member_id: str | None, epoch: int) -> None:
        """Whoever asks, knows: a classic group's positions are no secret."""

    def validate_offset_delete(self) -> None:
        """Raise NON_EMPTY_GROUP when subscriptions of active members can't be read."""
        if self.state is GroupState.DEAD:
            raise KafkaError(ErrorCode.group_id_not_found)
        if self.state is not GroupState.EMPTY and not self.is_consumer_group:
            raise KafkaError(ErrorCode.non_empty_group)

    def validate_offset_commit(
        self, member_id: str, group_instance_id: str | None, generation: int, *, transactional: bool, api_version: int
    ) -> None:
        """Raise unless a commit with these credentials is allowed now (Kafka's ClassicGroup#validateOffsetCommit)."""
        if self.state is GroupState.DEAD:
            raise KafkaError(ErrorCode.coordinator_not_available)
        if generation < 0 and self.state is GroupState.EMPTY:
            return  # the group isn't used for assignment, or a transactional producer commits without credentials
        if generation >= 0 or member_id or group_instance_id is not None:
            self.roster.validate(member_id, group_instance_id)
            if generation != self.generation:
                raise KafkaError(ErrorCode.illegal_generation)
        elif not transactional and self.state is not GroupState.EMPTY:
            raise KafkaError(ErrorCode.unknown_member_id)
        if not transactional and self.state is GroupState.COMPLETING_REBALANCE:
            raise KafkaError(ErrorCode.rebalance_in_progress)

    # --- JoinGroup ---------------------------------------------------------------------------------------------------

    def join(self, request: JoinRequest) -> asyncio.Future[JoinResult]:
        """Handle a JoinGroup request; the future is done when the member may have its answer."""
        waiter: asyncio.Future[JoinResult] = asyncio.get_running_loop().create_future()
        if not self._accepts(request.member_id):
            self._remove(request.member_id)
            waiter.set_result(JoinResult(ErrorCode.group_max_size_reached))
        elif self.state is GroupState.DEAD:
            waiter.set_result(JoinResult(ErrorCode.coordinator_not_available, request.member_id))
        elif not self._supports(request.protocol_type, [name for name, _ in request.protocols]):
            waiter.set_result(JoinResult(ErrorCode.inconsistent_group_protocol, request.member_id))
        elif not request.member_id:
            self._join_unknown(request, waiter)
        else:
            self._join_known(request, waiter)
        return waiter

    def _join_unknown(self, request: JoinRequest, waiter: asyncio.Future[JoinResult]) -> None:
        instance = request.group_instance_id
        member_id = f"{instance or request.client_id}-{uuid.uuid4()}"
        if instance is not None:
            existing = self.roster.static_member(instance)
            if existing is not None:
                self._replace_static(request, existing, member_id, waiter)
            else:
                self._add(request, member_id, waiter)
        elif request.requires_known_member_id:
            self.roster.awaiting_first_join.add(member_id)
            self._timers.schedule(
                self._heartbeat_key(member_id),
                request.session_timeout_ms,
                lambda: self._expire(member_id),
            )
            waiter.set_result(JoinResult(ErrorCode.member_id_required, member_id))
        else:
            self._add(request, member_id, waiter)

    def _join_known(self, request: JoinRequest, waiter: asyncio.Future[JoinResult]) -> None:
        member_id = request.member_id
        if member_id in self.roster.awaiting_first_join and request.group_instance_id is None:
            self._add(request, member_id, waiter)
            return
        try:
            self.roster.validate(member_id, request.group_instance_id)
        except KafkaError as error:
            waiter.set_result(JoinResult(error.code, member_id))
            return
        member = self.members[member_id]
        unchanged = member.protocols == request.protocols
        is_leader = member_id == self.roster.leader
        rejoins = (
            self.state is GroupState.PREPARING_REBALANCE
            or (self.state is GroupState.COMPLETING_REBALANCE and not unchanged)
            or (self.state is GroupState.STABLE and (is_leader or not unchanged))
        )
        if rejoins:
            self._update(member, request, waiter)
            self._rebalance_or_complete()
        elif self.state in (GroupState.COMPLETING_REBALANCE, GroupState.STABLE):
            # The member probably missed the answer of this generation: it gets it again.
            waiter.set_result(self._joined(member, with_members=is_leader))
        else:
            waiter.set_result(JoinResult(ErrorCode.unknown_member_id, member_id))

    def _add(self, request: JoinRequest, member_id: str, waiter: asyncio.Future[JoinResult]) -> None:
        member = Member(
            member_id,
            request.group_instance_id,
            request.client_id,
            request.client_host,
            request.rebalance_timeout_ms,
            request.session_timeout_ms,
            request.protocol_type,
            request.protocols,
            is_new=True,
            join_waiter=waiter,
        )
        if self.state is GroupState.PREPARING_REBALANCE and self.previous_state is GroupState.EMPTY:
            self._new_member_added = True  # the initial rebalance waits a little longer
        if not self.members:
            self.protocol_type = request.protocol_type
        self.roster.add(member)
        # A new member that has gone away is noticed late: its socket isn't read while the JoinGroup is parked.
        self._expect_heartbeat(member, NEW_MEMBER_JOIN_TIMEOUT_MS)
        self._rebalance_or_complete()

    def _replace_static(
        self, request: JoinRequest, old_id: str, new_id: str, waiter: asyncio.Future[JoinResult]
    ) -> None:
        """A static member came back without its member id: it takes over, the old id is fenced."""
        former_leader = self.roster.leader
        self._timers.cancel(self._heartbeat_key(old_id))
        self.members[old_id].answer_join(JoinResult(ErrorCode.fenced_instance_id, old_id))
        self.members[old_id].answer_sync(SyncResult(ErrorCode.fenced_instance_id))
        member = self.roster.rename_static(old_id, new_id)
        self._update(member, request, waiter)
        self._expect_heartbeat(member)
        if self.state is GroupState.COMPLETING_REBALANCE:
            # The leader may already have been told the old id: only a new round gives the new one an assignment.
            self._prepare_rebalance()
        elif self.state is GroupState.STABLE and self.roster.select_protocol() == self.protocol_name:
            self._store(self, {each.member_id: each.assignment for each in self.members.values()})
            is_leader = new_id == self.roster.leader
            if request.supports_skipping_assignment:
                result = self._joined(member, with_members=is_leader, skip_assignment=is_leader)
            else:
                result = self._joined(member, with_members=False, leader=former_leader)
            member.answer_join(result)
        elif self.state is GroupState.STABLE:
            self._rebalance_or_complete()
        else:
            self._maybe_complete_join()

    def _update(self, member: Member, request: JoinRequest, waiter: asyncio.Future[JoinResult]) -> None:
        if member.join_waiter is not None and member.join_waiter is not waiter:
            # Kafka forgets the older request; here its connection would be stuck until it closes.
            member.answer_join(JoinResult(ErrorCode.rebalance_in_progress, member.member_id))
        member.protocols = request.protocols
        member.rebalance_timeout_ms = request.rebalance_timeout_ms
        member.session_timeout_ms = request.session_timeout_ms
        member.join_waiter = waiter

    def _accepts(self, member_id: str) -> bool:
        if self.state is GroupState.PREPARING_REBALANCE:
            member = self.members.get(member_id)
            if member is not None and member.awaits_join:
                return True
            return sum(each.awaits_join for each in self.members.values()) < self._settings.max_size
        if self.state in (GroupState.COMPLETING_REBALANCE, GroupState.STABLE):
            return member_id in self.members or len(self.members) < self._settings.max_size
        return True

    def _supports(self, protocol_type: str, protocols: Collection[str]) -> bool:
        if self.state is GroupState.EMPTY:
            return bool(protocol_type) and bool(protocols)
        return protocol_type == self.protocol_type and self.roster.supports(protocols)

    # --- rebalances --------------------------------------------------------------------------------------------------

    def _rebalance_or_complete(self) -> None:
        if self.state in (GroupState.STABLE, GroupState.COMPLETING_REBALANCE, GroupState.EMPTY):
            self._prepare_rebalance()
        else:
            self._maybe_complete_join()

    def _prepare_rebalance(self) -> None:
        if self.state is GroupState.COMPLETING_REBALANCE:
            self._propagate({}, ErrorCode.rebalance_in_progress)
        self._pending_sync.clear()
        self._timers.cancel(self._sync_key)
        initial = self.state is GroupState.EMPTY
        self._move_to(GroupState.PREPARING_REBALANCE)
        if initial:
            self._delay_initial_rebalance(
                self._settings.initial_rebalance_delay_ms,
                max(self.roster.rebalance_timeout_ms - self._settings.initial_rebalance_delay_ms, 0),
            )
        elif self.roster.all_joined:
            self._complete_join()
        else:
            self._timers.schedule(self._join_key, self.roster.rebalance_timeout_ms, self._complete_join)

    def _delay_initial_rebalance(self, delay_ms: int, remaining_ms: int) -> None:
        def elapsed() -> None:
            if self._new_member_added and remaining_ms:
                self._new_member_added = False
                self._delay_initial_rebalance(
                    min(self._settings.initial_rebalance_delay_ms, remaining_ms), max(remaining_ms - delay_ms, 0)
                )
            else:
                self._complete_join()

        self._timers.schedule(self._join_key, delay_ms, elapsed)

    def _maybe_complete_join(self) -> None:
        """Complete the round when everybody is there; an initial one always waits for its delay."""
        if (
            self.state is GroupState.PREPARING_REBALANCE
            and self.previous_state is not GroupState.EMPTY
            and self.roster.all_joined
        ):
            self._complete_join()

    def _complete_join(self) -> None:
        self._timers.cancel(self._join_key)
        if self.state is GroupState.DEAD:
            return
        for member in [each for each in self.members.values() if not each.awaits_join and not each.is_static]:
            self._remove(member.member_id)
        if self.members and not self.roster.elect_leader():
            # Only static members that haven't rejoined: wait until their sessions end or they come back.
            self._timers.schedule(self._join_key, self.roster.rebalance_timeout_ms, self._complete_join)
            return
        self.generation += 1
        self._pending_sync.clear()
        if not self.members:
            self.protocol_name = None
            self._note_subscriptions()
            self._move_to(GroupState.EMPTY)
            self._store(self, {})
            return
        self.protocol_name = self.roster.select_protocol()
        self._note_subscriptions()
        self._move_to(GroupState.COMPLETING_REBALANCE)
        for member in self.members.values():
            member.answer_join(self._joined(member, with_members=member.member_id == self.roster.leader))
            self._expect_heartbeat(member)
            member.is_new = False
            self._pending_sync.add(member.member_id)
        generation = self.generation
        self._timers.schedule(self._sync_key, self.roster.rebalance_timeout_ms, lambda: self._expire_sync(generation))

    def _expire_sync(self, generation: int) -> None:
        if generation != self.generation or not self._pending_sync:
            return
        if self.state in (GroupState.COMPLETING_REBALANCE, GroupState.STABLE):
            for member_id in tuple(self._pending_sync):
                self._remove(member_id)
            self._prepare_rebalance()

    # --- SyncGroup ---------------------------------------------------------------------------------------------------

    def sync(
        self,
        member_id: str,
        group_instance_id: str | None,
        generation: int,
        protocol_type: str | None,
        protocol_name: str | None,
        assignments: Mapping[str, bytes],
    ) -> asyncio.Future[SyncResult]:
        """Handle a SyncGroup request: the leader's brings the assignments, the others wait for it."""
        waiter: asyncio.Future[SyncResult] = asyncio.get_running_loop().create_future()
        error = self._sync_error(member_id, group_instance_id, generation, protocol_type, protocol_name)
        if error is not ErrorCode.none:
            waiter.set_result(SyncResult(error))
            return waiter
        self._pending_sync.discard(member_id)
        if not self._pending_sync:
            self._timers.cancel(self._sync_key)
        member = self.members[member_id]
        if self.state is GroupState.STABLE:
            waiter.set_result(SyncResult(ErrorCode.none, self.protocol_type, self.protocol_name, member.assignment))
            return waiter
        member.answer_sync(SyncResult(ErrorCode.rebalance_in_progress))
        member.sync_waiter = waiter
        if member_id == self.roster.leader:
            filled = {each: assignments.get(each, b"") for each in self.members}
            try:
                self._store(self, filled)
            except KafkaError as store_error:
                self._propagate({}, store_error.code)
                self._rebalance_or_complete()
            else:
                self._propagate(filled, ErrorCode.none)
                self._move_to(GroupState.STABLE)
        return waiter

    def _sync_error(
        self,
        member_id: str,
        group_instance_id: str | None,
        generation: int,
        protocol_type: str | None,
        protocol_name: str | None,
    ) -> ErrorCode:
        if self.state is GroupState.DEAD:
            return ErrorCode.coordinator_not_available
        try:
            self.roster.validate(member_id, group_instance_id)
        except KafkaError as error:
            return error.code
        if generation != self.generation:
            return ErrorCode.illegal_generation
        if protocol_type not in (None, self.protocol_type) or protocol_name not in (None, self.protocol_name):
            return ErrorCode.inconsistent_group_protocol
        if self.state is GroupState.PREPARING_REBALANCE:
            return ErrorCode.rebalance_in_progress
        return ErrorCode.none

    def _propagate(self, assignments: Mapping[str, bytes], error: ErrorCode) -> None:
        named = error is ErrorCode.none
        for member in self.members.values():
            member.assignment = assignments.get(member.member_id, b"")
            answered = member.answer_sync(
                SyncResult(
                    error,
                    self.protocol_type if named else None,
                    self.protocol_name if named else None,
                    member.assignment,
                )
            )
            if answered:
                self._expect_heartbeat(member)

    # --- Heartbeat, LeaveGroup, session timeouts ---------------------------------------------------------------------

    def heartbeat(self, member_id: str, group_instance_id: str | None, generation: int) -> None:
        """Keep the member's session alive; raises what the member has to know."""
        if self.state is GroupState.DEAD:
            raise KafkaError(ErrorCode.coordinator_not_available)
        self.roster.validate(member_id, group_instance_id)
        if generation != self.generation:
            raise KafkaError(ErrorCode.illegal_generation)
        if self.state is GroupState.EMPTY:
            raise KafkaError(ErrorCode.unknown_member_id)
        self._expect_heartbeat(self.members[member_id])
        if self.state is GroupState.PREPARING_REBALANCE:
            raise KafkaError(ErrorCode.rebalance_in_progress)

    def extend_session(self, member_id: str) -> None:
        """An offset commit counts as a heartbeat."""
        member = self.members.get(member_id)
        if member is not None and self.state in (GroupState.STABLE, GroupState.PREPARING_REBALANCE):
            self._expect_heartbeat(member)

    def leave(self, members: Iterable[tuple[str, str | None]]) -> list[ErrorCode]:
        """Remove members, each by member id or (an administrator) by instance id alone; one error code each."""
        errors = [self._leave(member_id, instance) for member_id, instance in members]
        if ErrorCode.none in errors:
            if self.state in (GroupState.STABLE, GroupState.COMPLETING_REBALANCE):
                self._prepare_rebalance()
            elif self.state is GroupState.PREPARING_REBALANCE:
                self._maybe_complete_join()
        return errors

    def _leave(self, member_id: str, group_instance_id: str | None) -> ErrorCode:
        if not member_id:
            static = self.roster.static_member(group_instance_id)
            if static is None:
                return ErrorCode.unknown_member_id
            member_id = static
        elif member_id in self.roster.awaiting_first_join:
            self._remove(member_id)
            return ErrorCode.none
        else:
            try:
                self.roster.validate(member_id, group_instance_id)
            except KafkaError as error:
                return error.code
        self.members[member_id].answer_join(JoinResult(ErrorCode.unknown_member_id))
        self._remove(member_id)
        return ErrorCode.none

    def _expect_heartbeat(self, member: Member, timeout_ms: int | None = None) -> None:
        self._timers.schedule(
            self._heartbeat_key(member.member_id),
            member.session_timeout_ms if timeout_ms is None else timeout_ms,
            lambda member_id=member.member_id: self._expire(member_id),  # type: ignore[misc]
        )

    def _expire(self, member_id: str) -> None:
        member = self.members.get(member_id)
        if member is not None and self._is_suspended():
            self._expect_heartbeat(member)  # nobody can reach a coordinator that is down: nobody is late
            return
        if member_id in self.roster.awaiting_first_join:
            self._remove(member_id)
        elif member is None or member.satisfies_heartbeat:
            return
        else:
            member.answer_join(JoinResult(ErrorCode.unknown_member_id))
            self._remove(member_id)
            if self.state in (GroupState.STABLE, GroupState.COMPLETING_REBALANCE):
                self._prepare_rebalance()
                return
        if self.state is GroupState.PREPARING_REBALANCE and self.roster.all_joined:
            self._complete_join()

    # --- life and death ----------------------------------------------------------------------------------------------

    def restore(
        self, generation: int, protocol_type: str | None, protocol_name: str | None, leader: str | None
    ) -> None:
        """Take the header fields of a stored group; its members follow through `restore_member`."""
        self.generation, self.roster.leader = generation, leader
        self.protocol_type, self.protocol_name = protocol_type, protocol_name

    def restore_member(self, member: Member) -> None:
        """Add a stored member: it has its full session timeout from now to show up."""
        self.roster.add(member)
        self._expect_heartbeat(member)

    def restored(self, state_timestamp_ms: int | None) -> None:
        """All members are back: the group is Stable, or Empty without any."""
        self.state = GroupState.STABLE if self.members else GroupState.EMPTY
        self.state_timestamp_ms = state_timestamp_ms
        self._note_subscriptions()

    def interrupt(self, error: ErrorCode) -> None:
        """End every parked request with `error`; members have their full session timeouts to come back."""
        for member in self.members.values():
            member.answer_join(JoinResult(error, member.member_id))
            member.answer_sync(SyncResult(error))
            self._expect_heartbeat(member)

    def die(self, error: ErrorCode = ErrorCode.not_coordinator) -> None:
        """The group is deleted or unloaded: every parked request gets `error`, no timer of the group is left."""
        self._move_to(GroupState.DEAD)
        for member in self.members.values():
            member.answer_join(JoinResult(error, member.member_id))
            member.answer_sync(SyncResult(error))
        for member_id in (*self.members, *self.roster.awaiting_first_join):
            self._timers.cancel(self._heartbeat_key(member_id))
        self._timers.cancel(self._join_key)
        self._timers.cancel(self._sync_key)

    # --- internals ---------------------------------------------------------------------------------------------------

    def _remove(self, member_id: str) -> None:
        self._timers.cancel(self._heartbeat_key(member_id))
        self.roster.remove(member_id)
        self._pending_sync.discard(member_id)

    def _move_to(self, state: GroupState) -> None:
        self.previous_state, self.state = self.state, state
        self.state_timestamp_ms = self._clock.now_ms()

    def _joined(
        self, member: Member, *, with_members: bool, leader: str | None = None, skip_assignment: bool = False
    ) -> JoinResult:
        return JoinResult(
            ErrorCode.none,
            member.member_id,
            self.generation,
            self.protocol_type,
            self.protocol_name,
            leader or self.roster.leader or "",
            self.roster.as_seen_by_leader(self.protocol_name) if with_members else (),
            skip_assignment,
        )

    def _note_subscriptions(self) -> None:
        self.subscribed_topics = None
        if self.is_consumer_group and (not self.members or self.protocol_name is not None):
            self.subscribed_topics = subscribed_topics(
                member.metadata(self.protocol_name) for member in self.members.values()
            )

    @property
    def _join_key(self) -> tuple[str, str]:
        return ("join", self.group_id)

    @property
    def _sync_key(self) -> tuple[str, str]:
        return ("sync", self.group_id)

    def _heartbeat_key(self, member_id: str) -> tuple[str, str, str]:
        return ("heartbeat", self.group_id, member_id)
