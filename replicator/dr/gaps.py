"""Going on behind a gap, as an operator orders it: the command for the owners of the lanes, and the wait for them."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from datetime import datetime

from replicator.config.models import LinkConfig, Settings
from replicator.dr.desk import Desk
from replicator.dr.holds import Choice
from replicator.errors import WrongStateError
from replicator.ledger.control import ACCEPTABLE, AcceptGap, FaultedPartition, encode_command
from replicator.ledger.status import PartitionStatus, read_status_blocking
from replicator.states import Reason, State

Key = tuple[str, int]

_POLL_S = 0.5


def stopped_by_gaps(partitions: Iterable[PartitionStatus]) -> list[PartitionStatus]:
    """Those of them that wait for somebody to accept that data is missing."""
    acceptable = {reason.value for reason in ACCEPTABLE}
    return [each for each in partitions if each.state == State.FAULTED and each.reason in acceptable]


def accept_gaps(
    settings: Settings, link: LinkConfig, choice: Choice, places: Iterable[Key], *, wait_s: float, by: str = ""
) -> None:
    """Let these of the chosen partitions go on without what is missing, and wait until they do.

    WrongStateError if a worker hasn't obeyed within `wait_s`: the command stands.
    """
    wanted = set(places)
    with Desk(settings, link, "resume", f"{choice} --accept-gap", by=by) as desk:
        status = read_status_blocking(settings, link)
        stopped = [each for each in stopped_by_gaps(status.partitions) if (each.topic, each.partition) in wanted]
        named = tuple(FaultedPartition(p.topic, p.partition, Reason(str(p.reason)), _since_ms(p)) for p in stopped)
        if named:
            desk.command(encode_command(AcceptGap(uuid.uuid4(), desk.by, int(time.time() * 1000), named)))
            _wait(settings, link, stopped, wait_s, desk)
        desk.detail = "; ".join(f"{p.topic}-{p.partition}: {p.reason}: {p.detail}" for p in stopped)


def _since_ms(partition: PartitionStatus) -> int:
    since = datetime.fromisoformat(str(partition.since))
    return int(since.timestamp()) * 1000 + since.microsecond // 1000


def _wait(settings: Settings, link: LinkConfig, stopped: list[PartitionStatus], limit_s: float, desk: Desk) -> None:
    """Until no partition is in the state any more that the command was given for."""
    deadline = time.monotonic() + limit_s
    waiting = {(each.topic, each.partition): each.since for each in stopped}
    while True:
        now = {(p.topic, p.partition): p.since for p in read_status_blocking(settings, link).partitions}
        left = [at for at, since in waiting.items() if now.get(at) == since]
        if not left:
            return
        if time.monotonic() > deadline:
            raise WrongStateError(
                f"link {link.name}: {len(left)} partitions haven't gone on after {limit_s:g} s, the first of them "
                f"{left[0][0]}-{left[0][1]}; the command stands: start a worker (`replicator run`), then look at "
                "`replicator status`"
            )
        desk.renew()
        time.sleep(_POLL_S)
