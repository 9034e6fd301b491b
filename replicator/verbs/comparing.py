"""`verify`, as the API has it: its report is the result, and its sign-off is in the audit trail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field

from replicator.config.models import LinkConfig, Settings
from replicator.dr.desk import note_in_trail
from replicator.dr.sign_off import sign
from replicator.dr.verify import saying, verify
from replicator.ledger.status import read_status_blocking
from replicator.verbs.verb import Hand, Order, Row, Verb


class VerifyOrder(Order):
    """How much, and how fast."""

    partition: int | None = Field(default=None, ge=0, description="Only this partition of each topic.")
    rate: int | None = Field(default=None, ge=1, description="Read so many bytes a second at most.")


def _ahead(settings: Settings, link: LinkConfig, order: VerifyOrder) -> dict[str, Any]:
    chosen = order.choice.of_status(read_status_blocking(settings, link))
    return {"link": link.name, "partitions": len(chosen)}


def _consequence(rows: Sequence[Row], order: VerifyOrder) -> str:
    return f"{sum(row['partitions'] for row in rows)} partitions are read on both sides; nothing is changed."


def _run(settings: Settings, link: LinkConfig, order: VerifyOrder, found: Row | None, hand: Hand) -> dict[str, Any]:
    report = verify(
        settings,
        link,
        topic=order.choice.pattern,
        partition=order.partition,
        rate_bytes=order.rate,
        by=hand.by,
        progress=saying(hand.say),
    )
    shown = report.model_dump(mode="json")
    signed = sign(shown)
    verdict = "equal" if report.ok else f"{report.differences} differences"
    detail = f"{report.records} records, {verdict}; SHA-256 {signed.sha256}"
    note_in_trail(settings, link, "verify", report.what, detail, by=hand.by, took_ms=int(report.seconds * 1000))
    return {**shown, "sign_off": signed.as_json()}


VERIFY = Verb(
    "verify",
    "Compare every record of both sides: order, key, value, headers, timestamp. The result is the report.",
    VerifyOrder,
    _ahead,
    _consequence,
    _run,
)
