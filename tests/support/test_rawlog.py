"""The judgement of raw logs must turn red on a late write of every kind, and on nothing else."""

from __future__ import annotations

import pytest

from tests.support.rawclient import CONTROL, Batch
from tests.support.rawlog import late_batches


def log(*written: str) -> list[Batch]:
    """Batches from words like `7/0` (producer 7, epoch 0) and `7/1!` (a marker)."""
    batches = []
    for at, word in enumerate(written):
        producer, epoch = word.rstrip("!").split("/")
        kind = CONTROL if word.endswith("!") else 0
        batches.append(Batch(at, kind, int(producer), int(epoch), 0, at, 0, 0, 0, 1, ()))
    return batches


@pytest.mark.parametrize(
    "written",
    [
        (),
        ("7/0", "7/0", "7/0!"),
        ("7/0", "7/1!", "7/1", "7/1!", "7/2!", "7/2"),
        ("7/0", "8/0", "7/0", "7/0!", "8/0"),  # one owner, two producers in turn
        ("7/0", "8/0", "8/1!", "7/1!", "7/1", "8/1"),
        ("7/0", "8/0", "8/1!", "8/1", "7/1!", "7/1", "8/1"),  # the successor uses one of them, then the other as well
        ("7/0", "8/1", "7/1"),  # one owner used the one, the next the other and then both
        ("7/0", "7/0!", "9/0", "9/0!"),  # another producer id: the transactional id had expired
        ("7/0", "7/1!", "7/0!"),  # a late marker isn't a record
    ],
)
def test_given_owners_one_after_the_other_then_green(written: tuple[str, ...]) -> None:
    assert late_batches("t-0", log(*written)) == []


@pytest.mark.parametrize(
    "written",
    [
        ("7/0", "7/1", "7/0"),
        ("7/0", "7/1!", "7/0"),
        ("7/0", "7/1!", "7/1", "7/0", "7/1"),
        ("7/3", "8/3", "8/4!", "8/4", "8/3"),
        ("7/0", "8/0", "8/1!", "8/1", "7/1", "8/0"),
        ("7/0", "-1/-1"),
    ],
)
def test_given_a_batch_of_a_former_owner_behind_its_successor_then_red(written: tuple[str, ...]) -> None:
    assert len(late_batches("t-0", log(*written))) == 1
