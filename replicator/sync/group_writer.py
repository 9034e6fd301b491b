"""Writes groups' positions on the target, and remembers in lane 0's ledger which are this link's work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence

from replicator.errors import ReplicatorError
from replicator.ledger.group_state import GroupTopic, Mark, encode_group, encode_group_key
from replicator.sync.group_client import GroupClient
from replicator.sync.group_plan import Key, Move, View
from replicator.sync.group_rules import intended, refused, written
from replicator.sync.group_words import active, not_allowed, not_taken
from replicator.sync.plan import Held, Kind
from replicator.wire import kafka_errors as codes
from replicator.wire.groups import Positions

KeyValue = tuple[bytes, bytes | None]
GroupKey = tuple[str, str]  # group, target topic
MarkKey = tuple[str, str, int]

LATE_S = 60.0  # for so long after a takeover or a lost answer, what was sent before may still arrive
REFUSED_S = 20.0  # what was refused isn't tried again before
_AT_ONCE = 64  # groups being written
_BUSY = frozenset({codes.UNKNOWN_MEMBER_ID, codes.REBALANCE_IN_PROGRESS})


class Store:
    """Where what was written is remembered: lane 0's ledger partition."""

    def owner(self) -> object | None:
        """Who may write there now; another object after each takeover, None while nobody here may."""
        return None

    async def write(self, pairs: Sequence[KeyValue]) -> None:
        """Write these records. ReplicatorError if they aren't there for certain."""
        raise ReplicatorError("nothing is written here")


class GroupWriter:
    """Of one link. What is to be written is noted before; so is, afterwards, that it is there."""

    def __init__(
        self,
        source: GroupClient,
        target: GroupClient,
        store: Store | None,
        now_ms: Callable[[], int],
        clock: Callable[[], float],
    ) -> None:
        self._source, self._target = source, target
        self._store = store
        self._now_ms, self._clock = now_ms, clock
        self._owner: object | None = None
        self.states: dict[GroupKey, GroupTopic] = {}
        self._late: dict[MarkKey, set[int]] = {}
        self._late_until = 0.0
        self._refused: dict[GroupKey, tuple[float, Held]] = {}
        self.positions_written = 0

    @property
    def may_write(self) -> bool:
        """Whether the records are this worker's, as they were when `take_over` was called."""
        return self._store is not None and self._owner is not None and self._owner is self._store.owner()

    def take_over(self, found: dict[GroupKey, GroupTopic]) -> bool:
        """Begin with these records, if we own them anew; whether we do. As their only writer we needn't read what we
        wrote; but all that was there before us."""
        owner = None if self._store is None else self._store.owner()
        if owner is None:
            self._owner, self.states = None, found
            return True
        if self._late and self._late_until < self._clock():
            self._late.clear()
        if owner is self._owner:
            return False
        self._owner, self.states = owner, dict(found)
        for (group, topic), state in self.states.items():
            for partition, mark in state.marks.items():
                self._expect(group, (topic, partition), (mark.target, *mark.also))
        return True

    def mark(self, group: str, at: Key) -> Mark | None:
        """What is noted of a position."""
        state = self.states.get((group, at[0]))
        return None if state is None else state.marks.get(at[1])

    def late(self, group: str, at: Key) -> Collection[int]:
        """Values of ours that may still arrive there."""
        return self._late.get((group, *at), ())

    def note_final(self, group: str, at: Key, mark: Mark) -> None:
        """The mark has become final; not worth a record of its own."""
        state = self.states[group, at[0]]
        self.states[group, at[0]] = GroupTopic({**state.marks, at[1]: mark}, state.written_ms)

    def refusal(self, group: str, topic: str) -> Held | None:
        """Why this isn't tried now."""
        until, held = self._refused.get((group, topic), (0.0, None))
        if held is not None and until <= self._clock():
            del self._refused[group, topic]
            return None
        return held

    def _expect(self, group: str, at: Key, values: Iterable[int]) -> None:
        """These may still arrive: until nothing has been expected anew for a while."""
        self._late_until = self._clock() + LATE_S
        self._late.setdefault((group, *at), set()).update(values)

    async def write(self, moves: dict[str, list[Move]]) -> list[Held]:
        marks = {
            (move.view.group, *move.view.at): intended(
                move.view.offset, move.offset, move.view.held, move.before,
                final=move.final, basis=move.basis,
            )
            for each in moves.values() for move in each
        }  # fmt: skip
        adopted = {(m.view.group, *m.view.at) for each in moves.values() for m in each if not m.write}
        noted = {key: written(mark, self._late.get(key, ())) if key in adopted else mark for key, mark in marks.items()}
        await self._remember(noted, moves)
        writing = {group: [m for m in each if m.write] for group, each in moves.items() if any(m.write for m in each)}
        if not writing:
            return []
        again = [group for group, each in writing.items() if any(move.two_way for move in each)]
        now = await self._target.positions(writing)
        here = await self._source.positions(again) if again else {}
        gate = asyncio.Semaphore(_AT_ONCE)
        results: dict[tuple[str, str, int], Mark | None] = {}

        async def one(group: str) -> list[Held]:
            async with gate:
                return await self._write(group, writing[group], now[group], here.get(group), marks, results)

        answers = await asyncio.gather(*(one(group) for group in writing))
        await self._remember(results, moves)
        return [item for answer in answers for item in answer]

    async def _write(
        self,
        group: str,
        moves: list[Move],
        now: Positions,
        here: Positions | None,
        marks: dict[tuple[str, str, int], Mark],
        results: dict[tuple[str, str, int], Mark | None],
    ) -> list[Held]:
        wanted: dict[Key, Move] = {}
        for move in moves:
            there = now.committed.get(move.view.at)
            as_it_was = now.error == codes.NONE and (None if there is None else there.offset) == move.view.held
            if as_it_was and (not move.two_way or _is_still(move.view, here)):
                wanted[move.view.at] = move
            else:  # it has changed since: the next round looks again
                results[group, *move.view.at] = refused(move.before, move.view.held)
        if not wanted or not self.may_write:
            return []
        committed = {at: (move.offset, move.view.metadata) for at, move in wanted.items()}
        try:
            answer = await self._target.commit(group, committed)
        except ReplicatorError as error:
            for at in wanted:
                self._expect(group, at, (committed[at][0],))
            if error.retriable:
                return []
            return [self._refuse(wanted, not_taken(group, getattr(error, "code", -1), self._target.cluster.alias))]
        failed: dict[int, list[Key]] = {}
        for at, move in wanted.items():
            code = answer.get(at, codes.UNKNOWN_SERVER_ERROR)
            if code == codes.NONE:
                self.positions_written += 1
                results[group, *at] = written(marks[group, *at], self._late.get((group, *at), ()))
            else:
                results[group, *at] = refused(move.before, move.view.held)
                failed.setdefault(code, []).append(at)
        return [held for code, places in failed.items() for held in self._why_failed(group, code, places)]

    def _why_failed(self, group: str, code: int, places: list[Key]) -> list[Held]:
        if code in _BUSY:
            return [Held(Kind.GROUP, group, *active("active", self._target.cluster.alias))]
        if codes.is_retriable(code):
            return []
        alias, security = self._target.cluster.alias, self._target.cluster.config.security
        if code == codes.GROUP_AUTHORIZATION_FAILED:
            return [self._refuse(places, not_allowed(group, "Read", alias, security))]
        if code == codes.TOPIC_AUTHORIZATION_FAILED:
            topics = dict.fromkeys(topic for topic, _ in places)
            return [self._refuse([(t, 0)], not_allowed(group, "Read", alias, security, topic=t)) for t in topics]
        return [self._refuse(places, not_taken(group, code, alias))]

    def _refuse(self, places: Iterable[Key], held: Held) -> Held:
        """Not to be tried again for a while."""
        for topic, _ in places:
            self._refused[held.resource, topic] = self._clock() + REFUSED_S, held
        return held

    async def _remember(
        self, marks: dict[tuple[str, str, int], Mark | None] | dict[tuple[str, str, int], Mark],
        moves: dict[str, list[Move]],
    ) -> None:  # fmt: skip
        """Write the records that change with these marks (None: there is none any more)."""
        changed: dict[tuple[str, str], dict[int, Mark]] = {}
        whole = {(group, move.view.at[0]) for group, each in moves.items() for move in each if move.again}
        for (group, topic, partition), mark in marks.items():
            state = self.states.get((group, topic), GroupTopic())
            into = changed.setdefault((group, topic), dict(state.marks))
            if mark is None:
                into.pop(partition, None)
            else:
                into[partition] = mark
        pairs: list[KeyValue] = []
        states: dict[tuple[str, str], GroupTopic] = {}
        now = self._now_ms()
        for key, of_topic in changed.items():
            before = self.states.get(key)
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
                self.states[key] = state
            else:
                self.states.pop(key, None)

    async def delete(self, group: str) -> list[Held]:
        """Delete what we wrote of a group, and the group if nothing else is in it."""
        ours = {
            (topic, partition): mark
            for (of, topic), state in self.states.items()
            if of == group
            for partition, mark in state.marks.items()
        }
        there = (await self._target.positions([group]))[group]
        if there.error not in (codes.NONE, codes.GROUP_ID_NOT_FOUND):
            return []
        mine = [at for at, held in there.committed.items() if at in ours and ours[at].owns(held.offset)]
        try:
            if mine:
                await self._target.delete(group, None if len(mine) == len(there.committed) else mine)
        except codes.BrokerError as error:
            if error.code in (codes.NON_EMPTY_GROUP, *_BUSY):
                return [Held(Kind.GROUP, group, *active("active", self._target.cluster.alias))]
            if error.code == codes.GROUP_AUTHORIZATION_FAILED:
                return [not_allowed(group, "Delete", self._target.cluster.alias, self._target.cluster.config.security)]
            return [] if error.retriable else [not_taken(group, error.code, self._target.cluster.alias)]
        await self.forget(group)
        return []

    async def forget(self, group: str) -> None:
        """Note no more that anything of this group was written."""
        assert self._store is not None
        keys = [key for key in self.states if key[0] == group]
        await self._store.write([(encode_group_key(*key), None) for key in keys])
        for key in keys:
            del self.states[key]


def _is_still(view: View, here: Positions | None) -> bool:
    """Whether the source's position is the one that was translated."""
    committed = None if here is None else here.committed.get((view.topic, view.partition))
    return committed is not None and committed.error == codes.NONE and committed.offset == view.offset
