"""Says in the control topic which lanes of this worker don't run, and why: the lanes' own ledgers can't hold it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import structlog

from replicator.errors import AuthorizationError, ReplicatorError
from replicator.ledger.codec import LedgerFormatError
from replicator.ledger.lane_trouble import FRESH_MS, LaneTrouble, encode_trouble, trouble_key
from replicator.ledger.log import KeyValue
from replicator.states import PartitionFault, Reason
from replicator.wire import kafka_errors as codes
from replicator.wire.kafka_errors import BrokerError
from replicator.worker.control_writer import ControlWriter

log = structlog.get_logger(__name__)

QUIET_MS = 5_000  # a coordinator or a topic that has just come to be needs a moment
REPEAT_MS = 20_000  # well below `FRESH_MS`


class TroubledLane(Protocol):
    """What is asked of a lane."""

    number: int

    @property
    def running(self) -> bool:
        """Recovered, and in order."""

    @property
    def trouble(self) -> ReplicatorError | None:
        """What it is waiting for, or couldn't do when it tried last; None if there is nothing of that kind."""


class Troubles:
    """Of one link in this worker. Call `step` every second or two."""

    def __init__(
        self, link: str, control: ControlWriter, lanes: Callable[[], Iterable[TroubledLane]], now_ms: Callable[[], int]
    ) -> None:
        self._lanes = lanes
        self._now_ms = now_ms
        self._link = link
        self._logged: dict[Reason, list[int]] = {}
        self._control = control
        self._said: dict[int, LaneTrouble] = {}
        self._began: dict[int, int] = {}

    async def step(self) -> None:
        """Write what has changed. ReplicatorError if that can't be done now; then the next step does it."""
        now = self._now_ms()
        pairs: list[KeyValue] = []
        said: dict[int, LaneTrouble] = {}
        began: dict[int, int] = {}
        for lane in self._lanes():
            number, error, before = lane.number, lane.trouble, self._said.get(lane.number)
            if error is None and lane.running:
                if before is not None:
                    pairs.append((trouble_key(number), None))
                continue
            since_ms = began[number] = self._began.get(number, now)
            if error is None:  # it is being started again
                if before is not None:
                    said[number] = before
                continue
            reason = reason_of(error)
            if before is not None and before.reason is reason and now - before.seen_ms < REPEAT_MS:
                said[number] = before
            elif now - since_ms >= QUIET_MS:
                detail = f"Lane {number} of the link waits: {error}"
                said[number] = LaneTrouble(number, reason, detail, since_ms, now)
                pairs.append(encode_trouble(said[number]))
        here = {lane.number for lane in self._lanes()}
        for (
            number,
            before,
        ) in self._said.items():  # it is between two starts, or another's, who speaks of it from now on
            if number not in here and now - before.seen_ms < FRESH_MS:
                said[number] = before
                began[number] = before.since_ms
        self._began = began
        self._log_changes(said)
        if pairs:
            await self._control.write(pairs)
        self._said = said

    def _log_changes(self, said: Mapping[int, LaneTrouble]) -> None:
        """One line for all lanes of a kind: a coordinator that is away is many lanes' trouble."""
        for reason in Reason:
            lanes = sorted(lane for lane, trouble in said.items() if trouble.reason is reason)
            if lanes and lanes != self._logged.get(reason):
                log.warning(
                    "lanes don't run",
                    link=self._link, lanes=lanes, reason=reason.value, detail=said[lanes[0]].detail,
                    next_step=reason.next_step,
                )  # fmt: skip
            elif reason in self._logged and not lanes:
                log.info("lanes run again", link=self._link, lanes=self._logged[reason], reason=reason.value)
            self._logged.pop(reason, None)
            if lanes:
                self._logged[reason] = lanes


def reason_of(error: ReplicatorError) -> Reason:
    """The reason that an error of a lane's recovery or of its transactions stands for."""
    if isinstance(error, PartitionFault):
        return error.reason
    if isinstance(error, LedgerFormatError):
        return Reason.LEDGER_UNREADABLE
    if isinstance(error, AuthorizationError) or (isinstance(error, BrokerError) and error.code in codes.AUTHORIZATION):
        return Reason.NOT_AUTHORIZED
    return Reason.TARGET_UNREACHABLE if error.retriable else Reason.INTERNAL_ERROR
