"""`promote`, `failover` and `restore`, as the CLI and the API have them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import Field

from replicator.config.models import LinkConfig, Settings
from replicator.dr.failover import failover, outlook
from replicator.dr.promote import prepare, promote
from replicator.dr.restore import find, restore
from replicator.sync.plan import Kind, Why
from replicator.verbs.verb import Hand, Order, Row, Verb
from replicator.views.differences import read_plan
from replicator.views.outlook import as_json


class PromoteOrder(Order):
    """When the source counts as quiet, and how long to wait for it."""

    quiet: float = Field(default=5.0, ge=0, le=3600, description="How many seconds nobody must have written.")
    wait: float = Field(
        default=120.0, ge=0, le=86_400, description="How many seconds to wait for that, and for the rest."
    )


class FailoverOrder(Order):
    """How long to wait."""

    wait: float = Field(default=10.0, ge=0, le=3600, description="How many seconds to wait for workers.")


class RestoreOrder(Order):
    """Where records go, and how long to wait."""

    wait: float = Field(default=60.0, ge=0, le=86_400, description="How many seconds to wait for workers.")
    recovery_topic: str | None = Field(
        default=None,
        pattern=r"^[a-zA-Z0-9._-]{1,249}$",
        description="A topic on the target to save them to, instead of copying them; it is made if it isn't there.",
    )


def _promote_ahead(settings: Settings, link: LinkConfig, order: PromoteOrder) -> dict[str, Any]:
    return {"link": link.name, "partitions": len(prepare(settings, link, order.choice))}


def _promote_consequence(rows: Sequence[Row], order: PromoteOrder) -> str:
    count = sum(row["partitions"] for row in rows)
    return f"Copying of {count} partitions ends, once the source is quiet; their copies are used on their own."


def _promote(
    settings: Settings, link: LinkConfig, order: PromoteOrder, found: Row | None, hand: Hand
) -> dict[str, Any]:
    done = promote(
        settings,
        link,
        order.choice,
        quiet_s=order.quiet,
        wait_s=order.wait,
        why=order.why,
        by=hand.by,
        say=hand.say,
        plan=partial(_out_of_step, settings, link),
    )
    return done.as_json()


def _out_of_step(settings: Settings, link: LinkConfig) -> tuple[str, ...]:
    """Settings and ACLs that differ, and what can't be kept in step."""
    changes, held = asyncio.run(read_plan(settings, link))
    own = [change for change in changes if change.kind is not Kind.GROUP]
    lines = [f"{c.kind.value} {c.resource}: {c.what}: {c.before} -> {c.after}" for c in own]
    lines += [f"{h.kind.value} {h.resource}: {h.why.value}: {h.detail}" for h in held if h.why is not Why.NO_AUTHORIZER]
    return tuple(lines)


def _failover_ahead(settings: Settings, link: LinkConfig, order: FailoverOrder) -> dict[str, Any]:
    return as_json(link, outlook(settings, link, order.choice))


def _failover_consequence(rows: Sequence[Row], order: FailoverOrder) -> str:
    records, parts = sum(row["lost_records"] for row in rows), sum(row["due"] for row in rows)
    return f"Copying of {parts} partitions ends for good, and {records:,} records or more stay behind on the source."


def _failover(
    settings: Settings, link: LinkConfig, order: FailoverOrder, found: Row | None, hand: Hand
) -> dict[str, Any]:
    done = failover(
        settings,
        link,
        order.choice,
        snapshot=hand.snapshot or Path(snapshot_name(link.name)),
        wait_s=order.wait,
        why=order.why,
        by=hand.by,
        ask_source=found is None or found["source_error"] is None,
        say=hand.say,
    )
    return done.as_json()


def snapshot_name(link: str) -> str:
    """The file that a failover saves the status to, unless it is told another."""
    return f"failover-{link}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"


def _restore_ahead(settings: Settings, link: LinkConfig, order: RestoreOrder) -> dict[str, Any]:
    found = find(settings, link, order.choice, wait_s=order.wait)
    return {"link": link.name, "stranded": [asdict(each) for each in found]}


def _restore_consequence(rows: Sequence[Row], order: RestoreOrder) -> str:
    where = "copied behind what the copies hold" if order.recovery_topic is None else f"saved to {order.recovery_topic}"
    if not rows:
        return f"What was written to the old source and never copied will be {where}."
    records = sum(each["records"] for row in rows for each in row["stranded"])
    return f"{records:,} records will be {where}."


def _restore(
    settings: Settings, link: LinkConfig, order: RestoreOrder, found: Row | None, hand: Hand
) -> dict[str, Any]:
    return restore(
        settings,
        link,
        order.choice,
        export=hand.export,
        recovery_topic=order.recovery_topic,
        wait_s=order.wait,
        why=order.why,
        by=hand.by,
        say=hand.say,
    ).as_json()


PROMOTE = Verb(
    "promote",
    "A planned move: wait until producers have stopped and all is copied, then stop copying. Nothing is lost.",
    PromoteOrder,
    _promote_ahead,
    _promote_consequence,
    _promote,
)
FAILOVER = Verb(
    "failover",
    "The source is gone: end copying where it has got to; the copies are used on their own from now on.",
    FailoverOrder,
    _failover_ahead,
    _failover_consequence,
    _failover,
    saves="status as it was",
)
RESTORE = Verb(
    "restore",
    "After a failover, with the old source back: copy what was written there and never copied.",
    RestoreOrder,
    _restore_ahead,
    _restore_consequence,
    _restore,
    looks_first=False,
)
