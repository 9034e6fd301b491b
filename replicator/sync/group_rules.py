"""Whether a group's position on the target may be written: the rules for one position, without any input or output.

- A: a position that isn't there is written.
- B: a position that this link wrote, or was about to write, follows the source, also backwards.
- C: a position that the link in the other direction took for the source's one is in step with it, and follows; but not
  while that link's write may still be on its way, for then the source is what is behind.
- D: a position that somebody else has moved is never written, until it is where this link would put it.
- E: where the group stood when the direction was turned (`reverse`) counts no more, once it has moved on the source.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from enum import Enum
from typing import NamedTuple

from replicator.ledger.group_state import ALSO_MAX, Mark


class Verdict(Enum):
    """What to do about a position."""

    IN_STEP = "in step"
    ADOPT = "in step, and to be remembered as ours"
    WRITE = "to be written"
    DIVERGED = "somebody else's"


Former = Callable[[str, tuple[str, int]], int | None]  # where a group stood in a target partition


def never_turned(group: str, at: tuple[str, int]) -> int | None:
    """Where the group stood on the target when the direction was turned: it never was."""
    return None


class Pair(NamedTuple):
    """What the link in the other direction wrote last, or is about to write: `there`, on our source, made from `here`,
    on our target. As long as it may not be there yet, one of `before` may be there instead."""

    there: int
    here: int
    before: tuple[int, ...] = ()


def judge(
    source: int,
    wanted: int,
    held: int | None,
    mark: Mark | None,
    late: Collection[int] = (),
    pair: Pair | None = None,
    former: int | None = None,
) -> Verdict:
    """What to do about a position that is `held` on the target and belongs at `wanted`, since the source's is `source`.

    `late`: values that a former owner, or an unanswered request, may have written a moment ago. `former`: where the
    group stood there when the direction was turned.
    """
    if held is None:
        return Verdict.WRITE
    if held == wanted:
        remembered = mark is not None and mark.target == held and mark.source == source and set(mark.also) <= set(late)
        return Verdict.IN_STEP if remembered else Verdict.ADOPT
    if pair is not None and (pair.there, pair.here) == (source, held):
        return Verdict.IN_STEP
    if held in late or (mark is not None and mark.owns(held)):
        return Verdict.WRITE
    if pair is not None and held == pair.here and source not in pair.before:
        return Verdict.WRITE
    if held == former:
        return Verdict.IN_STEP if pair is not None and pair.there == source else Verdict.WRITE
    return Verdict.DIVERGED


def intended(source: int, wanted: int, held: int | None, mark: Mark | None, *, final: bool, basis: int) -> Mark:
    """What to remember before `wanted` is written where `held` is."""
    possible = (*(mark.also if mark is not None else ()), *(() if mark is None else (mark.target,)))
    also = dict.fromkeys((*possible, *(() if held is None else (held,))))
    also.pop(wanted, None)
    return Mark(source, wanted, final, basis, tuple(also)[-ALSO_MAX:])


def written(mark: Mark, late: Collection[int] = ()) -> Mark:
    """What to remember when it is there; `late` values may still arrive."""
    return Mark(
        mark.source, mark.target, mark.final, mark.basis, tuple(offset for offset in mark.also if offset in late)
    )


def refused(before: Mark | None, held: int | None) -> Mark | None:
    """What to remember when the target hasn't taken it, for certain: what held before."""
    if before is not None and held is not None and before.owns(held) and (held != before.target or before.also):
        return Mark(before.source, held, False, before.basis)
    return before
