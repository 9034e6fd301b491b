"""Consumer groups' positions on the target, kept where the source's are: exactly, and only while a group has no members
there.

Order of a round: positions of both sides; then ledgers, so that whatever these say is at least as new; then what is to
be written is noted in our ledger; then the target is looked at once more, and then it is written. Where a link in the
other direction writes to the source, the source is looked at once more as well: what its ledger says is newer than what
we saw first.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

from replicator.config.models import LinkConfig, Settings
from replicator.ledger.desired import nothing_released
from replicator.ledger.group_state import GROUP_MAX_BYTES, Mark
from replicator.sync.group_client import GroupClient
from replicator.sync.group_filter import GroupFilter
from replicator.sync.group_plan import GroupPlan, Key, Move, View
from replicator.sync.group_rules import Former, Pair, Verdict, judge, never_turned
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
from replicator.sync.group_writer import GroupWriter, Store
from replicator.sync.log_starts import LogStarts
from replicator.sync.plan import Change, Held, Kind, SyncPlan
from replicator.sync.positions import Positions, Translated, Translation, Unknown
from replicator.wire import kafka_errors as codes
from replicator.wire.cluster import ClusterClient
from replicator.wire.groups import Committed, ListedGroup
from replicator.wire.groups import Positions as GroupPositions

REWRITE_MS = 20 * 3_600_000  # positions of a group that is empty expire, after 7 days by default
LOAD_LIMIT_S = 3.0  # of loading maps, in a round
_YIELD_EVERY = 50  # groups looked at
_LOOK_AT_ALL = 60  # rounds after which even what can't have changed is looked at


def make_group_sync(
    settings: Settings,
    link: LinkConfig,
    source: ClusterClient,
    target: ClusterClient,
    store: Store | None = None,
    released: Callable[[str], bool] = nothing_released,
    former: Former = never_turned,
) -> GroupSync:
    """The syncer of a link's groups, with clients of both clusters. Positions in `released` topics are left alone."""
    return GroupSync(
        link,
        GroupClient(source),
        GroupClient(target),
        Positions(settings, link, source, target),
        LogStarts(target, time.monotonic),
        store,
        now_ms=lambda: int(time.time() * 1000),
        clock=time.monotonic,
        released=released,
        former=former,
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
        released: Callable[[str], bool] = nothing_released,
        former: Former = never_turned,
    ) -> None:
        self._released = released
        self._were_released: set[str] = set()
        self._former = former
        self._link = link
        self._source, self._target = source, target
        self.positions = positions
        self._starts = starts
        self._filter = GroupFilter(link.groups)
        self._now_ms, self._clock = now_ms, clock
        self._writer = GroupWriter(source, target, store, now_ms, clock)
        self._rounds = 0
        self.groups_followed = 0  # by the last plan
        self._settled: dict[str, tuple[GroupPositions, GroupPositions, bool, int]] = {}
        self._held: dict[str, tuple[Held, ...]] = {}
        self.views: list[View] = []  # of the last plan, without what is known to be in step
        self._all_views = False

    @property
    def positions_written(self) -> int:
        """How many, since the beginning."""
        return self._writer.positions_written

    async def plan(self, only: str | None = None, *, all_views: bool = False) -> GroupPlan:
        """What differs now; `only` of this group. `all_views`: `views` shows what is in step, too."""
        for client in (self._source, self._target):
            if not client.cluster.brokers:
                await client.cluster.all_topics()
        listed, there = await asyncio.gather(self._source.groups(), self._target.groups())
        groups = [group for group in self._filter.choose(listed.values()) if only in (None, group)]
        ours, theirs = await asyncio.gather(self._source.positions(groups), self._target.positions(groups))
        await self.positions.refresh()
        if only is None:
            self.groups_followed = len(groups)
        self.views, self._all_views = [], all_views
        if not self.positions.exists:
            return GroupPlan()
        self._rounds += 1
        released = {topic for topic in self._source.cluster.topics if self._released(topic)}
        if released != self._were_released:  # neither side needs to have moved for something to be due
            self._were_released = released
            self._settled.clear()
        if self._writer.take_over(self.positions.groups) or all_views or self._rounds % _LOOK_AT_ALL == 0:
            self._settled.clear()
        held: dict[str, list[Held]] = {}
        views = await self._look(ours, theirs, there, held)
        await self._starts.refresh({view.at for view in views if self._may_differ(view)})
        moves: dict[str, list[Move]] = {}
        unsettled: set[str] = set()
        for view in views:
            self._decide(view, there.get(view.group), moves, held)
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
        gone_groups, forgotten = await self._gone(listed, there) if only is None else ((), ())
        changes = [change for each in moves.values() for move in each if (change := move.change) is not None]
        changes += [Change(Kind.GROUP, group, "group", "here", None) for group in gone_groups]
        flat = tuple(item for group in sorted(held) for item in held[group])
        return GroupPlan(tuple(changes), flat, moves, gone_groups, forgotten)

    async def apply(self, plan: SyncPlan) -> tuple[Held, ...]:
        """Write what the plan says, as far as the target still is as it was then."""
        if not isinstance(plan, GroupPlan):
            raise TypeError("not a plan of groups")
        if not self._writer.may_write:
            return ()
        held: list[Held] = []
        if plan.moves:
            held += await self._writer.write(plan.moves)
        for group in plan.gone:
            held += await self._writer.delete(group)
        for group in plan.forgotten:
            await self._writer.forget(group)
        return tuple(held)

    # looking

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
        if self._released(view.topic):
            if self._all_views:
                view.why, view.detail = not_copied("its copy is promoted, and its cluster's own")
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
        mark = self._writer.mark(view.group, at)
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
        times = [state.written_ms for topic in topics if (state := self._writer.states.get((group, topic))) is not None]
        return source, target, listed is None or listed.empty, min(times, default=self._now_ms()) + REWRITE_MS

    # deciding

    def _is_final(self, view: View) -> bool:
        """Whether nothing about it changes as long as both positions stay."""
        return view.wanted is None or view.wanted.final

    def _may_differ(self, view: View) -> bool:
        """Whether where the target's log begins is needed to know."""
        return view.wanted is not None and view.held != view.wanted.offset

    def _decide(
        self, view: View, listed: ListedGroup | None, moves: dict[str, list[Move]], held: dict[str, list[Held]]
    ) -> None:
        wanted = view.wanted
        if wanted is None:
            return
        offset = view.offset_there = max(wanted.offset, self._starts.get(view.at))
        mark = self._writer.mark(view.group, view.at)
        late = self._writer.late(view.group, view.at)
        pair = self._pair(view)
        verdict = judge(view.offset, offset, view.held, mark, late, pair, self._former(view.group, view.at))
        if verdict is Verdict.DIVERGED:
            view.why, view.detail = diverged(self._link.target)
        elif verdict is Verdict.WRITE and listed is not None and not listed.empty:
            view.why, view.detail = active(listed.state, self._link.target)
        elif verdict is Verdict.IN_STEP:
            self._finish(view, mark)
        elif verdict is Verdict.WRITE and (refusal := self._writer.refusal(view.group, view.at[0])) is not None:
            held.setdefault(view.group, [])
            if refusal not in held[view.group]:
                held[view.group].append(refusal)
        else:
            moves.setdefault(view.group, []).append(
                Move(view, offset, mark, verdict is Verdict.WRITE, pair is not None)
            )
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
            self._writer.note_final(view.group, view.at, replace(mark, final=True, basis=wanted.basis))

    def _pair(self, view: View) -> Pair | None:
        """What the other direction wrote on our source, of the same group, topic and partition."""
        for state in self.positions.groups_of_opposite(view.group, view.topic):
            mark = state.marks.get(view.partition)
            if mark is not None:
                return Pair(mark.target, mark.source, mark.also)
        return None

    def _refresh_old(
        self,
        theirs: dict[str, GroupPositions],
        there: dict[str, ListedGroup],
        moves: dict[str, list[Move]],
    ) -> None:
        """Write what was written long ago again, before it expires."""
        due_ms = self._now_ms() - REWRITE_MS
        for (group, topic), state in self._writer.states.items():
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

    async def _gone(
        self, listed: dict[str, ListedGroup], there: dict[str, ListedGroup]
    ) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Groups that we wrote, and that the source has no positions of any more, for certain: those whose positions
        are to be deleted, and those that the target doesn't have either, so that they may be forgotten."""
        if not self._link.delete_groups and self._rounds % _LOOK_AT_ALL:
            return (), ()
        candidates = sorted({group for group, _ in self._writer.states} - listed.keys())
        if not candidates:
            return (), ()
        gone = _without_positions(await self._source.positions(candidates))
        forgotten = _without_positions(await self._target.positions([group for group in gone if group not in there]))
        delete = [group for group in gone if group not in forgotten] if self._link.delete_groups else []
        return tuple(delete), tuple(forgotten)


def _without_positions(found: dict[str, GroupPositions]) -> list[str]:
    """Those that have none, for certain."""
    known = (codes.NONE, codes.GROUP_ID_NOT_FOUND)
    return [group for group, each in found.items() if each.error in known and not each.committed]
