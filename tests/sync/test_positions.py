"""Translation of positions against brute force: every record of both logs, at every instant of copying."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from replicator.config.models import ClusterConfig, LinkConfig, Settings, TopicsConfig
from replicator.ledger.entry import Entry, Gap, encode_entry, encode_key
from replicator.ledger.lanes import ledger_topic
from replicator.ledger.map_tail import MapTail
from replicator.ledger.map_thinning import thin
from replicator.ledger.moved import Moved, encode_moved
from replicator.ledger.offset_map import MapCache
from replicator.ledger.translation import BEYOND, COPIED, Located
from replicator.states import Reason
from replicator.sync import link_map as module
from replicator.sync.link_map import LinkMap
from replicator.sync.positions import Positions, Translated, Translation, Unknown
from replicator.wire.cluster import ClusterClient
from tests.ledger.offset_map_model import STEPS, Model, first_at_or_after
from tests.ledger.test_entry import ENTRY

US, EU, REMOTE = UUID(int=1), UUID(int=2), UUID(int=3)
STEP = st.tuples(st.integers(0, 3), st.integers(0, 3), st.integers(1, 4))


class Copying:
    """A partition that is copied step by step; its chunks and entry as they'd be in the map topic and the ledger."""

    def __init__(self, link_map: LinkMap, **entry: Any) -> None:
        self.model, self.tail = Model(), MapTail()
        self.chunks: dict[int, bytes] = {}
        self.link_map = link_map
        self._entry = replace(
            ENTRY, topic="t", partition=0, source_topic_id=US, target_topic="us.t", target_topic_id=REMOTE, gaps=(),
            moves=0, **entry,
        )  # fmt: skip

    def copy(self, source_gap: int, target_gap: int, length: int) -> None:
        """Some more records, and the chunks that are due."""
        self.model.step(source_gap, target_gap, length, self.tail.add)
        written = self.tail.flush()
        self.chunks.update(written)
        if written:
            self.tail.flushed([number for number, _ in written])

    @property
    def entry(self) -> Entry:
        """The entry of now."""
        return replace(
            self._entry, source_next=self.model.source_next, target_next=self.model.target_next,
            map_chunks=self.tail.chunks, map_tail=self.tail.encoded(),
        )  # fmt: skip

    def note(self) -> None:
        """Write the entry."""
        self.link_map.take(3, encode_key("t", 0), encode_entry(self.entry))

    def ask(self, offset: int, *, reverse: bool = False) -> Located:
        """The answer, with the map loaded where that is needed."""
        for _ in range(2):
            known = self.link_map.known(("t", 0))
            assert known is not None
            found = self.link_map.locate(known, offset, reverse=reverse)
            if found is not None:
                assert isinstance(found, Located), found
                return found
            assert asyncio.run(self.link_map.load())
        raise AssertionError("it wants the map that it has")


@pytest.fixture
def copying(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Copying]:
    """Makes a `Copying` whose chunks the map topic has."""

    def make() -> Copying:
        made = Copying(LinkMap("l", cast(ClusterClient, SimpleNamespace(alias="eu")), MapCache()))

        async def scan(cluster: object, topic: str, lane: int, take: Callable[[Any, int, bytes | None], None]) -> None:
            for number, value in made.chunks.items():
                take(("t", 0), number, value)
                take(("other", 0), number, b"nonsense")

        monkeypatch.setattr(module, "scan_chunks", scan)
        return made

    return make


def check(copying: Copying, offsets: list[int], *, thinned: bool = False) -> None:
    pairs = copying.model.records
    for reverse, truth, end in (
        (False, pairs, copying.entry.target_next),
        (True, {there: here for here, there in pairs.items()}, copying.entry.source_next),
    ):
        for offset in offsets:
            found, expected = copying.ask(offset, reverse=reverse), first_at_or_after(truth, offset)
            if expected is None:
                assert (found.offset, found.where) == (end, BEYOND)
            elif thinned:
                assert 0 <= expected - found.offset <= found.error_bound
            else:
                assert (found.offset, found.error_bound) == (expected, 0), f"{offset}, reverse {reverse}"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])  # it only makes new ones
@given(data=st.data())
def test_given_any_history_when_asked_at_any_instant_then_each_position_is_exact(
    copying: Callable[[], Copying], data: st.DataObject
) -> None:
    made = copying()
    for steps in data.draw(st.lists(st.lists(STEP, min_size=1, max_size=120), min_size=1, max_size=4)):
        for step in steps:
            made.copy(*step)
        made.note()
        most = max(made.model.source_next, made.model.target_next) + 3
        check(made, data.draw(st.lists(st.integers(0, most), max_size=12)))


def test_given_a_map_that_was_loaded_when_much_is_copied_behind_it_then_what_lies_between_is_exact(
    copying: Callable[[], Copying],
) -> None:
    made = copying()
    for round_ in range(5):
        for _ in range(300):
            made.copy(1, 2, 3)
        made.note()
        check(made, [0, made.model.source_next - 700])
        check(made, list(range(0, made.model.source_next + 3, 7)) if round_ == 4 else [])


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS)
def test_given_a_thinned_map_then_answers_are_early_by_no_more_than_they_say(
    copying: Callable[[], Copying], steps: list[tuple[int, int, int]]
) -> None:
    made = copying()
    for step in [*steps, *[(1, 1, 1)] * 3000]:
        made.copy(*step)
    for number, value in thin(made.chunks, 500):
        if value is None:
            del made.chunks[number]
        else:
            made.chunks[number] = value
    made.note()
    check(made, list(range(0, made.model.source_next + 2, 97)), thinned=True)


def test_given_a_partition_that_moved_to_another_lane_then_its_newest_entry_counts(
    copying: Callable[[], Copying],
) -> None:
    made = copying()
    made.copy(0, 0, 5)
    made.link_map.take(3, encode_key("t", 0), encode_moved(Moved(made.entry, 5, 1)))
    assert made.ask(2).offset == 2  # between the lanes: as it was when it left
    made.copy(0, 2, 5)
    made.link_map.take(5, encode_key("t", 0), encode_entry(replace(made.entry, moves=1)))
    assert made.ask(7).offset == 9


# ---- two directions -------------------------------------------------------------------------------------------------


class Mesh:
    """us and eu with links both ways; `identical`: topic t on both sides, else eu.t on us and us.t on eu."""

    def __init__(self, *, identical: bool) -> None:
        topics = TopicsConfig(naming="identical" if identical else "prefix")
        link, back = (
            LinkConfig(name=name, source=source, target=target, topics=topics)
            for name, source, target in (("l", "us", "eu"), ("back", "eu", "us"))
        )
        at = {name: ClusterConfig(bootstrap_servers="b:1") for name in ("us", "eu")}
        self.copy_there, self.copy_here = link.remote_topic("t"), back.remote_topic("t")
        us = {"t": US, self.copy_here: US if identical else UUID(int=4), ledger_topic("back"): UUID(int=9)}
        eu = {"t": EU, self.copy_there: EU if identical else REMOTE}
        source, target = (
            cast(
                ClusterClient,
                SimpleNamespace(alias=alias, topics=topics_, topic_id_of=topics_.get, watch=lambda names: None),
            )
            for alias, topics_ in (("us", us), ("eu", eu))
        )
        self.positions = Positions(Settings(clusters=at, links=(link, back)), link, source, target)
        self.positions._find_opposite()
        self.own, self.opposite = self.positions._own, self.positions._opposite["back"]
        self._ids = {
            "there": (US, self.copy_there, eu[self.copy_there]),
            "here": (EU, self.copy_here, us[self.copy_here]),
        }

    def note(
        self, pairs: list[tuple[int, int]], next_: tuple[int, int], *, back: bool, gaps: tuple[Gap, ...] = ()
    ) -> None:
        """Write the entry of a partition of which these records were copied, from where to where."""
        tail = MapTail()
        for here, there in pairs:
            tail.add(here, there, 1)
        source_id, target, target_id = self._ids["here" if back else "there"]
        entry = replace(
            ENTRY, topic="t", partition=0, source_topic_id=source_id, target_topic=target, target_topic_id=target_id,
            source_next=next_[0], target_next=next_[1], map_chunks=0, map_tail=tail.encoded(), gaps=gaps, moves=0,
        )  # fmt: skip
        (self.opposite if back else self.own).take(0, encode_key("t", 0), encode_entry(entry))

    def ask(self, topic: str, offset: int) -> dict[tuple[str, int], Translation]:
        asyncio.run(self.positions._index())
        found = self.positions.translate(topic, 0, offset)
        assert found is not None
        return found


def test_given_a_topic_that_came_from_the_target_then_its_positions_go_back_to_the_original() -> None:
    mesh = Mesh(identical=False)
    mesh.note([(5, 1), (6, 2), (9, 4)], (10, 5), back=True)
    found = {offset: mesh.ask("eu.t", offset)["t", 0] for offset in range(7)}
    assert all(isinstance(each, Translated) for each in found.values())
    offsets = [cast(Translated, found[offset]).offset for offset in range(7)]
    assert offsets == [5, 5, 6, 9, 9, 10, 10]
    assert [cast(Translated, found[offset]).where for offset in (2, 5)] == [COPIED, BEYOND]
    assert cast(Translated, found[2]).final


def test_given_a_topic_of_the_same_name_made_anew_then_nothing_is_said_about_it() -> None:
    mesh = Mesh(identical=False)
    mesh.note([(5, 1)], (6, 2), back=True)
    cast(Any, mesh.positions._target).topics["t"] = UUID(int=77)
    assert mesh.ask("eu.t", 1) == {}
    mesh.note([(5, 1)], (6, 2), back=False)
    cast(Any, mesh.positions._source).topics["t"] = UUID(int=78)
    found = mesh.ask("t", 5)["us.t", 0]
    assert isinstance(found, Unknown)
    assert "t" in found.detail


def test_given_a_map_that_began_anew_then_what_is_before_it_has_no_answer() -> None:
    mesh = Mesh(identical=False)
    mesh.note([(50, 10)], (51, 11), back=False, gaps=(Gap(Reason.SOURCE_TRUNCATED, 40, 50, 0, 0, 0, "ops"),))
    assert isinstance(mesh.ask("t", 3)["us.t", 0], Unknown)
    assert cast(Translated, mesh.ask("t", 50)["us.t", 0]).offset == 10


WRITES = st.lists(st.sampled_from(["us", "eu", "there", "here", "gap-us", "gap-eu"]), max_size=60)


@given(writes=WRITES)
def test_given_one_name_in_both_directions_then_no_record_is_skipped_and_none_more_read_again_than_need_be(
    writes: list[str],
) -> None:
    """Both clusters' logs as lists: each native record by its number, copies by the number of the original."""
    mesh = Mesh(identical=True)
    us: list[tuple[str, int] | None] = []
    eu: list[tuple[str, int] | None] = []
    there: list[tuple[int, int]] = []  # copied from us to eu: offsets
    here: list[tuple[int, int]] = []
    next_there, next_here = [0, 0], [0, 0]
    for write in writes:
        if write == "us":
            us.append(("us", len(us)))
        elif write == "eu":
            eu.append(("eu", len(eu)))
        elif write.startswith("gap"):
            (us if write == "gap-us" else eu).append(None)
        elif write == "there":
            _copy_next(us, eu, "us", there, next_there)
        else:
            _copy_next(eu, us, "eu", here, next_here)
    mesh.note(there, (next_there[0], next_there[1]), back=False)
    mesh.note(here, (next_here[0], next_here[1]), back=True)
    reached = {at_eu for at_eu, _ in here}  # natives of eu that us has
    came = dict(here)
    for offset in range(len(us) + 2):
        found = mesh.ask("t", offset)["t", 0]
        if isinstance(found, Unknown):
            assert not there or not here
            continue
        # What a consumer at `offset` on us hasn't read: its natives, and eu's whose copies are there or yet to come.
        unread = [at_eu for at_us, at_eu in there if at_us >= offset]
        unread += [at for at, record in enumerate(eu) if record and record[0] == "eu" and at not in reached]
        unread += [at for at, at_us in came.items() if at_us >= offset]
        assert all(found.offset <= at for at in unread), (offset, found, unread)
        uncopied = next_there[1] if any(at_us >= offset for at_us in range(next_there[0], len(us))) else len(eu)
        assert found.offset >= min([*unread, uncopied, next_there[1], next_here[0]])
        assert found.of_two


def _copy_next(
    here: list[tuple[str, int] | None], there: list[tuple[str, int] | None], native: str,
    pairs: list[tuple[int, int]], next_: list[int],
) -> None:  # fmt: skip
    """Copy the next native record of this log, passing over what isn't one."""
    while next_[0] < len(here):
        record, at = here[next_[0]], next_[0]
        next_[0] += 1
        if record is not None and record[0] == native:
            pairs.append((at, len(there)))
            there.append(record)
            next_[1] = len(there)
            return
