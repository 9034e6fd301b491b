"""Consumer groups' positions on the target, kept where the source's are: exactly, and only while a group has no members
there.

Order of a round: positions of both sides; then ledgers, so that whatever these say is at least as new; then what is to
be written is noted in our ledger; then the target is looked at once more, and then it is written.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace

from replicator.config.models import LinkConfig, Settings
from replicator.errors import ReplicatorError
from replicator.ledger.group_state import GROUP_MAX_BYTES, GroupTopic, Mark, encode_group, encode_group_key
from replicator.sync.group_client import GroupClient
from replicator.sync.group_filter import GroupFilter
from replicator.sync.group_rules import Pair, Verdict, intended, judge, refused, written
from replicator.sync.group_words import (
    active,
    diverged,
    held_back,
    inexact,
    not_allowed,
    not_copied,
    not_taken,
    too_long,
    untranslatable,
)
from replicator.sync.log_starts import LogStarts
from replicator.sync.plan import Change, Held, Kind, SyncPlan, Why
from replicator.sync.positions import Positions, Translated, Translation, Unknown
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.groups import Committed, ListedGroup
from replicator.wire.groups import Positions as GroupPositions

Key = tuple[str, int]
KeyValue = tuple[bytes, bytes | None]

REWRITE_MS = 20 * 3_600_000  # positions of a group that is empty expire, after 7 days by default
LATE_S = 60.0  # for so long after a takeover or a lost answer, what was sent before may still arrive
LOAD_LIMIT_S = 3.0  # of loading maps, in a round
_AT_ONCE = 64  # groups being written
_YIELD_EVERY = 50  # groups looked at
_BUSY = frozenset({codes.UNKNOWN_MEMBER_ID, codes.REBALANCE_IN_PROGRESS})


class Store:
    """Where what was written is remembered: lane 0's ledger partition."""

    def owner(self) -> object | None:
        """Who may write there now; another object after each takeover, None while nobody here may."""
        return None

    async def write(self, pairs: Sequence[KeyValue]) -> None:
        """Write these records. ReplicatorError if they aren't there for certain."""
        raise ReplicatorError("nothing is written here")


@dataclass(slots=True)
class View:
    """One position, on both sides. Offsets are None where they don't exist or aren't known."""

    group: str
    topic: str
    partition: int
    offset: int
    metadata: str = ""
    target_topic: str | None = None
    held: int | None = None
    wanted: Translated | None = None
    offset_there: int | None = None  # `wanted`, or where the target's log begins
    why: Why | None = None
    detail: str = ""

    @property
    def at(self) -> Key:
        """The partition on the target."""
        assert self.target_topic is not None
        return self.target_topic, self.partition


@dataclass(frozen=True, slots=True)
class Move:
    """A position to be written (`write`), or only to be remembered as ours."""

    view: View
    offset: int
    before: Mark | None
    write: bool


@dataclass(frozen=True, slots=True)
class GroupPlan(SyncPlan):
    """What is to be done, group by group; and the groups that are gone from the source, with what we wrote of them."""

    moves: dict[str, list[Move]] = field(default_factory=dict)
    gone: tuple[str, ...] = ()


def make_group_sync(
    settings: Settings, link: LinkConfig, source: ClusterClient, target: ClusterClient, store: Store | None = None
) -> GroupSync:
    """The syncer of a link's groups, with clients of both clusters."""
    return GroupSync(
        link,
        GroupClient(source),
        GroupClient(target),
        Positions(settings, link, source, target),
        LogStarts(target, time.monotonic),
        store,
        now_ms=lambda: int(time.time() * 1000),
        clock=time.monotonic,
    )


class GroupSync:
    """`Syncer` of groups. Without a `store` it only plans. Belongs to one event loop; one call at a time."""

    def __init__(
        self,
        link: LinkConfig,
        source: GroupClient,
        target: GroupClient,
        positions: Positions,
        starts: LogStarts,
        store: Store | None = None,
        *,
        now_ms: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._link = link
        self._source, self._target = source, target
        self.positions = positions
        self._starts = starts
        self._filter = GroupFilter(link.groups)
        self._store = store
        self._now_ms, self._clock = now_ms, clock
        self._owner: object | None = None
        self._states: dict[tuple[str, str], GroupTopic] = {}
        self._late: dict[tuple[str, str, int], set[int]] = {}
        self._late_until = 0.0
        self._settled: dict[str, tuple[GroupPositions, GroupPositions, bool, int]] = {}
        self._held: dict[str, tuple[Held, ...]] = {}
        self.views: list[View] = []  # of the last plan, without what is known to be in step
        self._all_views = False

    async def plan(self, only: str | None = None, *, all_views: bool = False) -> GroupPlan:
        """What differs now; `only` of this group. `all_views`: `views` shows what is in step, too."""
        for client in (self._source, self._target):
            if not client.cluster.brokers:
                await client.cluster.all_topics()
        listed, there = await asyncio.gather(self._source.groups(), self._target.groups())
        groups = [group for group in self._filter.choose(listed.values()) if only in (None, group)]
        ours, theirs = await asyncio.gather(self._source.positions(groups), self._target.positions(groups))
        await self.positions.refresh()
        self.views, self._all_views = [], all_views
        if not self.positions.exists:
            return GroupPlan()
        self._take_over()
        if all_views:
            self._settled.clear()
        held: dict[str, list[Held]] = {}
        views = await self._look(ours, theirs, there, held)
        await self._starts.refresh({view.at for view in views if self._may_differ(view)})
        moves: dict[str, list[Move]] = {}
        unsettled: set[str] = set()
        for view in views:
            self._decide(view, there.get(view.group), moves)
            if view.why is not None or not self._is_final(view):
                unsettled.add(view.group)
        self._refresh_old(theirs, there, moves)
        self.views = views
        troubled: dict[str, list[View]] = {}
        for view in views:
            if view.why is not None:
                troubled.setdefault(view.group, []).append(view)
        for group, having in troubled.items():
            held.setdefault(group, []).extend(held_back(group, having))
        for group in ours:
            if group not in unsettled and group not in moves and not held.get(group):
                self._settled[group] = self._mark_settled(group, ours[group], theirs[group], there.get(group))
        for gone in self._settled.keys() - ours.keys():
            del self._settled[gone]
        gone_groups = await self._gone(listed, only)
        changes = [change for each in moves.values() for move in each if (change := _change(move)) is not None]
        changes += [Change(Kind.GROUP, group, "group", "here", None) for group in gone_groups]
        flat = tuple(item for group in sorted(held) for item in held[group])
        return GroupPlan(tuple(changes), flat, moves, gone_groups)

    async def apply(self, plan: SyncPlan) -> tuple[Held, ...]:
        """Write what the plan says, as far as the target still is as it was then."""
        if not isinstance(plan, GroupPlan):
            raise TypeError("not a plan of groups")
        if self._store is None or self._owner is None or self._owner is not self._store.owner():
            return ()
        held: list[Held] = []
        if plan.moves:
            held += await self._apply_moves(plan.moves)
        for group in plan.gone:
            held += await self._delete(group)
        return tuple(held)

    # looking

    def _take_over(self) -> None:
        """As the only writer of the records, we needn't read what we wrote; but all that was there before us."""
        owner = None if self._store is None else self._store.owner()
        if owner is None:
            self._owner, self._states = None, self.positions.groups
            return
        if owner is not self._owner:
            self._owner, self._states = owner, dict(self.positions.groups)
            self._settled.clear()
            for (group, topic), state in self._states.items():
                for partition, mark in state.marks.items():
                    self._expect(group, (topic, partition), (mark.target, *mark.also))
        now = self._clock()
        if self._late and self._late_until < now:
            self._late.clear()

    def _expect(self, group: str, at: Key, values: Iterable[int]) -> None:
        """These may still arrive: until nothing has been expected anew for a while."""
        self._late_until = self._clock() + LATE_S
        self._late.setdefault((group, *at), set()).update(values)

    async def _look(
        self,
        ours: dict[str, GroupPositions],
        theirs: dict[str, GroupPositions],
        there: dict[str, ListedGroup],
        held: dict[str, list[Held]],
    ) -> list[View]:
        """What isn't known to be in step, translated."""
        views: list[View] = []
        waiting: list[View] = []
        memo: dict[tuple[str, int, int], dict[Key, Translation]] = {}
        for index, (group, source) in enumerate(ours.items()):
            if index % _YIELD_EVERY == _YIELD_EVERY - 1:
                await asyncio.sleep(0)
            target = theirs[group]
            if self._is_settled(group, source, target, there.get(group)):
                continue
            trouble = self._trouble(group, source, target)
            if trouble is not None:
                held.setdefault(group, []).extend(trouble)
                continue
            for (topic, partition), committed in source.committed.items():
                self._translate(
                    View(group, topic, partition, committed.offset, committed.metadata),
                    committed, target, memo, views, waiting,
                )  # fmt: skip
        await self._load(waiting, theirs, memo, views)
        return views

    def _translate(
        self,
        view: View,
        committed: Committed,
        target: GroupPositions,
        memo: dict[tuple[str, int, int], dict[Key, Translation]],
        views: list[View],
        waiting: list[View],
    ) -> None:
        if not self.positions.copied(view.topic):
            if self._all_views:
                view.why, view.detail = not_copied("the link doesn't copy this topic")
                views.append(view)
            return
        if committed.error:
            if committed.error != codes.UNSTABLE_OFFSET_COMMIT:  # that is decided in a moment
                view.why, view.detail = not_copied(codes.error_name(committed.error))
                views.append(view)
            return
        place = self.positions.place(view.topic, view.partition)
        if place is not None and not self._all_views and self._in_step_for_good(view, place, target):
            return
        key = view.topic, view.partition, view.offset
        found = memo.get(key)
        if found is None:
            answer = self.positions.translate(*key)
            if answer is None:
                waiting.append(view)
                return
            found = memo[key] = answer
        if not found:
            view.why, view.detail = not_copied("it isn't copied yet")
            views.append(view)
        for (topic, _), translation in found.items():
            one = replace(view, target_topic=topic)
            there = target.committed.get(one.at)
            if there is not None and there.error:
                continue  # a transaction decides about it
            one.held = None if there is None else there.offset
            if isinstance(translation, Unknown):
                one.why, one.detail = untranslatable(translation.detail)
            else:
                one.wanted = translation
            views.append(one)

    def _in_step_for_good(self, view: View, place: tuple[Key, int], target: GroupPositions) -> bool:
        at, basis = place
        state = self._states.get((view.group, at[0]))
        mark = None if state is None else state.marks.get(at[1])
        there = target.committed.get(at)
        return (
            mark is not None
            and mark.final
            and mark.source == view.offset
            and mark.basis == basis
            and not mark.also
            and there is not None
            and there.offset == mark.target
        )

    async def _load(
        self,
        waiting: list[View],
        theirs: dict[str, GroupPositions],
        memo: dict[tuple[str, int, int], dict[Key, Translation]],
        views: list[View],
    ) -> None:
        """Load the maps that are missing, for a while; what isn't loaded then is left to the next round."""
        until = self._clock() + LOAD_LIMIT_S
        while waiting and self._clock() < until and await self.positions.load():
            left: list[View] = []
            for view in waiting:
                self._translate(view, Committed(view.offset, view.metadata), theirs[view.group], memo, views, left)
            waiting = left
        for view in waiting:
            view.why, view.detail = untranslatable("its offset map is still being loaded")
            views.append(view)

    def _trouble(self, group: str, source: GroupPositions, target: GroupPositions) -> list[Held] | None:
        if len(group.encode()) > GROUP_MAX_BYTES:
            return [too_long(group)]
        for positions, cluster in ((source, self._source.cluster), (target, self._target.cluster)):
            if positions.error == codes.GROUP_AUTHORIZATION_FAILED:
                return [not_allowed(group, "Describe", cluster.alias, cluster.config.security)]
            if positions.error not in (codes.NONE, codes.GROUP_ID_NOT_FOUND):
                if codes.is_retriable(positions.error):
                    return []
                return [not_taken(group, positions.error, cluster.alias)]
        return None

    def _is_settled(
        self, group: str, source: GroupPositions, target: GroupPositions, listed: ListedGroup | None
    ) -> bool:
        known = self._settled.get(group)
        if known is None:
            return False
        same = known[0] is source and known[1] is target and known[2] == (listed is None or listed.empty)
        if same and self._now_ms() < known[3]:
            return True
        del self._settled[group]
        return False

    def _mark_settled(
        self, group: str, source: GroupPositions, target: GroupPositions, listed: ListedGroup | None
    ) -> tuple[GroupPositions, GroupPositions, bool, int]:
        topics = {topic for topic, _ in target.committed}
        times = [state.written_ms for topic in topics if (state := self._states.get((group, topic))) is not None]
        return source, target, listed is None or listed.empty, min(times, default=self._now_ms()) + REWRITE_MS

    # deciding

    def _mark(self, view: View) -> Mark | None:
        state = self._states.get((view.group, view.at[0]))
        return None if state is None else state.marks.get(view.partition)

    def _is_final(self, view: View) -> bool:
        """Whether nothing about it changes as long as both positions stay."""
        return view.wanted is None or view.wanted.final

    def _may_differ(self, view: View) -> bool:
        """Whether where the target's log begins is needed to know."""
        return view.wanted is not None and view.held != view.wanted.offset

    def _decide(self, view: View, listed: ListedGroup | None, moves: dict[str, list[Move]]) -> None:
        wanted = view.wanted
        if wanted is None:
            return
        offset = view.offset_there = max(wanted.offset, self._starts.get(view.at))
        mark = self._mark(view)
        late = self._late.get((view.group, *view.at), ())
        verdict = judge(view.offset, offset, view.held, mark, late, self._pair(view))
        if verdict is Verdict.DIVERGED:
            view.why, view.detail = diverged(self._link.target)
        elif verdict is Verdict.WRITE and listed is not None and not listed.empty:
            view.why, view.detail = active(listed.state, self._link.target)
        elif verdict is Verdict.IN_STEP:
            self._finish(view, mark)
        else:
            moves.setdefault(view.group, []).append(Move(view, offset, mark, verdict is Verdict.WRITE))
        if view.why is None and wanted.error_bound:
            view.why, view.detail = inexact()

    def _finish(self, view: View, mark: Mark | None) -> None:
        """What has become final needn't be translated any more; not worth a record of its own."""
        wanted = view.wanted
        if (
            wanted is None
            or mark is None
            or not wanted.final
            or wanted.offset != mark.target
            or view.held != mark.target
        ):
            return
        if not mark.final or mark.basis != wanted.basis:
            key = view.group, view.at[0]
            state = self._states[key]
            marks = {**state.marks, view.partition: replace(mark, final=True, basis=wanted.basis)}
            self._states[key] = GroupTopic(marks, state.written_ms)

    def _pair(self, view: View) -> Pair | None:
        """What the other direction wrote on our source, of the same group, topic and partition."""
        for state in self.positions.groups_of_opposite(view.group, view.topic):
            mark = state.marks.get(view.partition)
            if mark is not None:
                return Pair(mark.target, mark.source)
        return None

    def _refresh_old(
        self,
        theirs: dict[str, GroupPositions],
        there: dict[str, ListedGroup],
        moves: dict[str, list[Move]],
    ) -> None:
        """Write what was written long ago again, before it expires."""
        due_ms = self._now_ms() - REWRITE_MS
        for (group, topic), state in self._states.items():
            listed = there.get(group)
            if state.written_ms > due_ms or group not in theirs or (listed is not None and not listed.empty):
                continue
            planned = {move.view.at for move in moves.get(group, ())}
            for partition, mark in state.marks.items():
                held = theirs[group].committed.get((topic, partition))
                if held is None or held.offset != mark.target or (topic, partition) in planned:
                    continue
                wanted = Translated(mark.target, 0, "", mark.final, mark.basis)
                view = View(group, "", partition, mark.source, held.metadata, topic, held.offset, wanted)
                moves.setdefault(group, []).append(Move(view, mark.target, mark, True))

    async def _gone(self, listed: dict[str, ListedGroup], only: str | None) -> tuple[str, ...]:
        """Groups that we wrote, and that the source has no positions of any more, for certain."""
        if not self._link.delete_groups or only is not None:
            return ()
        candidates = sorted({group for group, _ in self._states} - listed.keys())
        found = await self._source.positions(candidates) if candidates else {}
        return tuple(
            group
            for group, positions in found.items()
            if positions.error in (codes.NONE, codes.GROUP_ID_NOT_FOUND) and not positions.committed
        )

    # writing

    async def _apply_moves(self, moves: dict[str, list[Move]]) -> list[Held]:
        marks = {
            (move.view.group, *move.view.at): intended(
                move.view.offset, move.offset, move.view.held, move.before,
                final=_final(move), basis=move.view.wanted.basis if move.view.wanted is not None else 0,
            )
            for each in moves.values() for move in each
        }  # fmt: skip
        adopted = {(m.view.group, *m.view.at) for each in moves.values() for m in each if not m.write}
        noted = {key: written(mark, self._late.get(key, ())) if key in adopted else mark for key, mark in marks.items()}
        await self._remember(noted, moves)
        writing = {group: [m for m in each if m.write] for group, each in moves.items() if any(m.write for m in each)}
        if not writing:
            return []
        now = await self._target.positions(writing)
        gate = asyncio.Semaphore(_AT_ONCE)
        results: dict[tuple[str, str, int], Mark | None] = {}

        async def write(group: str) -> list[Held]:
            async with gate:
                return await self._write(group, writing[group], now[group], marks, results)

        answers = await asyncio.gather(*(write(group) for group in writing))
        await self._remember(results, moves)
        return [item for answer in answers for item in answer]

    async def _write(
        self,
        group: str,
        moves: list[Move],
        now: GroupPositions,
        marks: dict[tuple[str, str, int], Mark],
        results: dict[tuple[str, str, int], Mark | None],
    ) -> list[Held]:
        wanted: dict[Key, Move] = {}
        for move in moves:
            there = now.committed.get(move.view.at)
            if now.error == codes.NONE and (None if there is None else there.offset) == move.view.held:
                wanted[move.view.at] = move
            else:  # it has changed since: the next round looks again
                results[group, *move.view.at] = refused(move.before, move.view.held)
        if not wanted or self._store is None or self._store.owner() is not self._owner:
            return []
        committed = {at: (move.offset, move.view.metadata) for at, move in wanted.items()}
        try:
            answer = await self._target.commit(group, committed)
        except ReplicatorError as error:
            for at in wanted:
                self._expect(group, at, (committed[at][0],))
            return [] if error.retriable else [not_taken(group, getattr(error, "code", -1), self._link.target)]
        failed: dict[int, list[Key]] = {}
        for at, move in wanted.items():
            code = answer.get(at, codes.UNKNOWN_SERVER_ERROR)
            if code == codes.NONE:
                results[group, *at] = written(marks[group, *at], self._late.get((group, *at), ()))
            else:
                results[group, *at] = refused(move.before, move.view.held)
                failed.setdefault(code, []).append(at)
        return [held for code, places in failed.items() if (held := self._why_failed(group, code, places)) is not None]

    def _why_failed(self, group: str, code: int, places: list[Key]) -> Held | None:
        if code in _BUSY:
            why, detail = active("active", self._link.target)
            return Held(Kind.GROUP, group, why, detail)
        security = self._target.cluster.config.security
        if code == codes.GROUP_AUTHORIZATION_FAILED:
            return not_allowed(group, "Read", self._link.target, security)
        if code == codes.TOPIC_AUTHORIZATION_FAILED:
            return not_allowed(group, "Read", self._link.target, security, topic=places[0][0])
        return None if codes.is_retriable(code) else not_taken(group, code, self._link.target)

    async def _remember(
        self, marks: dict[tuple[str, str, int], Mark | None] | dict[tuple[str, str, int], Mark],
        moves: dict[str, list[Move]],
    ) -> None:  # fmt: skip
        """Write the records that change with these marks (None: there is none any more)."""
        changed: dict[tuple[str, str], dict[int, Mark]] = {}
        whole = {(group, move.view.at[0]) for group, each in moves.items() for move in each if move.view.topic == ""}
        for (group, topic, partition), mark in marks.items():
            state = self._states.get((group, topic), GroupTopic())
            into = changed.setdefault((group, topic), dict(state.marks))
            if mark is None:
                into.pop(partition, None)
            else:
                into[partition] = mark
        pairs: list[KeyValue] = []
        states: dict[tuple[str, str], GroupTopic] = {}
        now = self._now_ms()
        for key, of_topic in changed.items():
            before = self._states.get(key)
            state = GroupTopic(of_topic, now if before is None or key in whole else before.written_ms)
            if before is None or before.marks != state.marks or key in whole:
                states[key] = state
                pairs.append((encode_group_key(*key), encode_group(state) if of_topic else None))
        if not pairs:
            return
        assert self._store is not None
        await self._store.write(pairs)
        for key, state in states.items():
            if state.marks:
                self._states[key] = state
            else:
                self._states.pop(key, None)

    async def _delete(self, group: str) -> list[Held]:
        """Delete what we wrote of a group, and the group if nothing else is in it."""
        ours = {
            (topic, partition): mark
            for (of, topic), state in self._states.items()
            if of == group
            for partition, mark in state.marks.items()
        }
        there = (await self._target.positions([group]))[group]
        if there.error not in (codes.NONE, codes.GROUP_ID_NOT_FOUND):
            return []
        mine = [at for at, held in there.committed.items() if at in ours and ours[at].owns(held.offset)]
        try:
            if there.committed:
                await self._target.delete(group, None if len(mine) == len(there.committed) else mine)
        except codes.BrokerError as error:
            if error.code in (codes.NON_EMPTY_GROUP, *_BUSY):
                why, detail = active("active", self._link.target)
                return [Held(Kind.GROUP, group, why, detail)]
            if error.code == codes.GROUP_AUTHORIZATION_FAILED:
                return [not_allowed(group, "Delete", self._link.target, self._target.cluster.config.security)]
            return [] if error.retriable else [not_taken(group, error.code, self._link.target)]
        assert self._store is not None
        keys = [key for key in self._states if key[0] == group]
        await self._store.write([(encode_group_key(*key), None) for key in keys])
        for key in keys:
            del self._states[key]
        return []


def _final(move: Move) -> bool:
    wanted = move.view.wanted
    return wanted is not None and wanted.final and wanted.offset == move.offset


def _change(move: Move) -> Change | None:
    if not move.write or move.view.held == move.offset:
        return None
    topic, partition = move.view.at
    held = None if move.view.held is None else str(move.view.held)
    return Change(Kind.GROUP, move.view.group, f"{topic}-{partition}", held, str(move.offset))
