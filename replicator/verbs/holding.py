"""`pause` and `resume`, as the CLI and the API have them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from pydantic import Field

from replicator.config.models import LinkConfig, Settings
from replicator.dr.gaps import accept_gaps, stopped_by_gaps
from replicator.dr.holds import Held, pause, refuse_released, resume
from replicator.errors import WrongStateError
from replicator.ledger.status import PartitionStatus, read_status_blocking
from replicator.states import State
from replicator.verbs.verb import Hand, Order, Row, Verb


class HoldOrder(Order):
    """`wait`: how long, in seconds."""

    wait: float = Field(default=30.0, ge=0, le=3600, description="How many seconds to wait for workers.")


class ResumeOrder(HoldOrder):
    """As for pausing; and whether to go on behind a gap."""

    accept_gap: bool = Field(
        default=False, description="Go on without the data that the reason names; it stays in status."
    )


def _pause_ahead(settings: Settings, link: LinkConfig, order: HoldOrder) -> dict[str, Any]:
    chosen = order.choice.of_status(read_status_blocking(settings, link))
    refuse_released(link, chosen, "pause")
    return _held(link, State.PAUSED, chosen)


def _pause_consequence(rows: Sequence[Row], order: HoldOrder) -> str:
    count = sum(len(row["partitions"]) for row in rows)
    return f"{count} partitions will stand still; records wait on the source as long as it keeps them."


def _pause(settings: Settings, link: LinkConfig, order: HoldOrder, found: Row | None, hand: Hand) -> dict[str, Any]:
    return asdict(pause(settings, link, order.choice, why=order.why, wait_s=order.wait, by=hand.by))


def _resume_ahead(settings: Settings, link: LinkConfig, order: ResumeOrder) -> dict[str, Any]:
    chosen = order.choice.of_status(read_status_blocking(settings, link))
    refuse_released(link, chosen, "resume")
    paused = [partition for partition in chosen if partition.state == State.PAUSED]
    if paused and not order.accept_gap:
        return _held(link, State.COPYING, paused)
    return {"link": link.name, "accepted": [_gap(link, each) for each in stopped_by_gaps(chosen)]}


def _check_resume(found: Row, order: ResumeOrder) -> None:
    if found.get("accepted") and not order.accept_gap:
        raise WrongStateError(
            "these partitions wait for somebody to accept the gap: add --accept-gap to go on without it"
        )


def _resume_consequence(rows: Sequence[Row], order: ResumeOrder) -> str:
    missing = [gap for row in rows for gap in row.get("accepted", ())]
    if not missing:
        return f"{sum(len(row.get('partitions', ())) for row in rows)} partitions go on."
    if not order.accept_gap:
        return f"{len(missing)} partitions wait for somebody to accept the gap."
    return "The data named above will be missing on the target for good."


def _resume(settings: Settings, link: LinkConfig, order: ResumeOrder, found: Row | None, hand: Hand) -> dict[str, Any]:
    found = _resume_ahead(settings, link, order) if found is None else found
    if "accepted" not in found:
        return asdict(resume(settings, link, order.choice, wait_s=order.wait, by=hand.by))
    _check_resume(found, order)
    places = {(gap["topic"], gap["partition"]) for gap in found["accepted"]}
    if places:
        accept_gaps(settings, link, order.choice, places, wait_s=order.wait, by=hand.by)
    return dict(found)


def _held(link: LinkConfig, state: State, chosen: list[PartitionStatus]) -> dict[str, Any]:
    return asdict(Held(link.name, state, tuple((each.topic, each.partition) for each in chosen), 0, 0))


def _gap(link: LinkConfig, partition: PartitionStatus) -> dict[str, Any]:
    return {
        "link": link.name,
        "topic": partition.topic,
        "partition": partition.partition,
        "reason": partition.reason,
        "detail": partition.detail,
    }


PAUSE = Verb(
    "pause",
    "Stop copying, until `resume`. Nothing is lost as long as the source keeps its records.",
    HoldOrder,
    _pause_ahead,
    _pause_consequence,
    _pause,
)
RESUME = Verb(
    "resume",
    "Go on with topics that were paused; with `accept_gap`, with partitions that a gap in the data has stopped.",
    ResumeOrder,
    _resume_ahead,
    _resume_consequence,
    _resume,
    _check_resume,
)
