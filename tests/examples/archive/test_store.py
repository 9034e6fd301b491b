"""The chain of objects in a bucket: invariants A, B and C of `names.py`, also among processes that overtake another."""

from __future__ import annotations

import random
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError

from examples.archive.chunk import Chunk, Record
from examples.archive.decoding import JsonDecoder
from examples.archive.errors import ArchiveError, Overtaken
from examples.archive.pack import Packed, pack
from examples.archive.store import Store
from tests.examples.objects import ObjectStore

pytestmark = [pytest.mark.slow]

T = 1_790_000_000_000


def chunk(first: int, count: int, *, bad: frozenset[int] = frozenset()) -> tuple[Chunk, Packed]:
    made = Chunk("t", 0, opened_at=0)
    for offset in range(first, first + count):
        made.add(Record(offset, T + offset * 40_000_000, None, b"{" if offset in bad else b"%d" % offset, ()))
    return made, pack(made, JsonDecoder())


class Breaking:
    """A client that dies at its n-th write, before or after it has arrived."""

    def __init__(self, client: Any, dies_at: int, *, after: bool) -> None:
        self._client, self._left, self._after = client, dies_at, after

    def put_object(self, **arguments: Any) -> Any:
        self._left -= 1
        if self._left == 0 and not self._after:
            raise EndpointConnectionError(endpoint_url="s3")
        answer = self._client.put_object(**arguments)
        if self._left == 0:
            raise EndpointConnectionError(endpoint_url="s3")
        return answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._client, name)


def test_given_an_archive_when_asked_where_to_go_on_then_it_is_behind_the_last_object_whatever_its_day(
    objects: ObjectStore,
) -> None:
    store = Store(objects.client, objects.bucket)
    assert store.position("t", 0) is None
    store.add(*chunk(5, 3))
    early = Chunk("t", 0, opened_at=0)
    early.add(Record(8, 0, None, b"1", ()))  # of 1970: sorts before the other
    store.add(early, pack(early, JsonDecoder()))
    assert store.position("t", 0) == 9
    assert store.position("t", 1) is None
    assert store.position("t", 11) is None


def test_given_an_object_when_another_process_adds_one_of_the_same_offset_then_it_is_overtaken_and_nothing_changes(
    objects: ObjectStore,
) -> None:
    store = Store(objects.client, objects.bucket)
    store.add(*chunk(0, 10, bad=frozenset({3})))
    before = objects.keys()
    with pytest.raises(Overtaken):
        store.add(*chunk(0, 12, bad=frozenset({3, 11})))
    with pytest.raises(Overtaken):
        store.add(*chunk(0, 10, bad=frozenset({3})))
    assert objects.keys() == before
    assert [row.offset for row in objects.rows("t", 0, dead_letters=True)] == [3]


def test_given_a_write_whose_answer_was_lost_when_it_is_tried_again_then_it_is_our_own(objects: ObjectStore) -> None:
    class Twice:
        def __getattr__(self, name: str) -> Any:
            return getattr(objects.client, name)

        def put_object(self, **arguments: Any) -> Any:
            objects.client.put_object(**arguments)
            return objects.client.put_object(**arguments)

    Store(Twice(), objects.bucket).add(*chunk(0, 4))
    assert Store(objects.client, objects.bucket).position("t", 0) == 4


@pytest.mark.parametrize("dies_at", [1, 2])
@pytest.mark.parametrize("after", [False, True])
def test_given_a_crash_anywhere_when_the_next_goes_on_then_records_and_dead_letters_are_there_once(
    objects: ObjectStore, dies_at: int, after: bool
) -> None:
    bad = frozenset({2, 7, 9})
    with pytest.raises(EndpointConnectionError):
        Store(Breaking(objects.client, dies_at, after=after), objects.bucket).add(*chunk(0, 8, bad=bad))
    store = Store(objects.client, objects.bucket)
    first = store.position("t", 0) or 0
    assert first == (8 if dies_at == 2 and after else 0)
    following = chunk(first, 10 - first, bad=bad)
    store.add(*following)
    store.remove_leftovers(following[0])
    assert [row.offset for row in objects.rows("t", 0)] == [0, 1, 3, 4, 5, 6, 8]
    assert [row.offset for row in objects.rows("t", 0, dead_letters=True)] == [2, 7, 9]


def test_given_somebody_elses_object_in_the_way_when_asked_where_to_go_on_then_it_is_named(
    objects: ObjectStore,
) -> None:
    key = "archive/topic=t/partition=0/date=2026-01-01/00000000000000000004.parquet"
    objects.client.put_object(Bucket=objects.bucket.bucket, Key=key, Body=b"")
    with pytest.raises(ArchiveError, match="wasn't written by the archive"):
        Store(objects.client, objects.bucket).position("t", 0)


def test_given_several_processes_that_all_believe_to_own_a_partition_when_they_write_then_each_record_is_there_once(
    objects: ObjectStore,
) -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    end, bad = 160, frozenset(rng.sample(range(160), 16))
    positions: list[int | None] = [None, None, None]
    overtaken = 0
    for _ in range(1_000):
        who = rng.randrange(3)
        if positions[who] is None or rng.random() < 0.1:  # started, or started again
            positions[who] = Store(objects.client, objects.bucket).position("t", 0) or 0
        first = positions[who]
        assert first is not None
        if first >= end:
            break
        made = chunk(first, min(rng.randint(1, 12), end - first), bad=bad)
        breaks = rng.random() < 0.2
        client = Breaking(objects.client, rng.randint(1, 2), after=rng.random() < 0.5) if breaks else objects.client
        store = Store(client, objects.bucket)
        try:
            store.add(*made)
            positions[who] = made[0].following
            store.remove_leftovers(made[0])
        except Overtaken:
            overtaken += 1
            positions[who] = None
        except EndpointConnectionError:
            positions[who] = None
    assert overtaken > 0
    held = [row.offset for row in objects.rows("t", 0)]
    assert held == [offset for offset in range(end) if offset not in bad]
    letters = [row.offset for row in objects.rows("t", 0, dead_letters=True)]
    assert letters == sorted(bad)
