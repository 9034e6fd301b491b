"""What is said of lanes that don't run: after a moment, once, again while it lasts, and when it is over."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from replicator.errors import AuthorizationError, ReplicatorError, UnreachableError
from replicator.ledger.codec import LedgerFormatError
from replicator.ledger.lane_trouble import LaneTrouble, encode_trouble, take_trouble, trouble_key
from replicator.states import Reason
from replicator.wire.kafka_errors import COORDINATOR_NOT_AVAILABLE, BrokerError
from replicator.worker.troubles import QUIET_MS, REPEAT_MS, Troubles, reason_of

AWAY = BrokerError(COORDINATOR_NOT_AVAILABLE, "FindCoordinator")


@dataclass
class FakeLane:
    number: int
    trouble: ReplicatorError | None = None
    running: bool = True


@dataclass
class Scene:
    lanes: list[FakeLane]
    now_ms: int = 0
    written: list[list[tuple[bytes, bytes | None]]] = field(default_factory=list)
    read: dict[int, LaneTrouble] = field(default_factory=dict)
    refuse: bool = False

    def __post_init__(self) -> None:
        self.troubles = Troubles("link", self, lambda: self.lanes, lambda: self.now_ms)  # type: ignore[arg-type]

    async def write(self, pairs: list[Any]) -> None:
        """As `ControlWriter`."""
        if self.refuse:
            raise UnreachableError("away too")
        self.written.append(pairs)
        for pair in pairs:
            take_trouble(self.read, *pair)

    async def at(self, now_ms: int) -> None:
        self.now_ms = now_ms
        await self.troubles.step()


async def test_given_a_lane_that_waits_then_it_is_said_after_a_moment_repeated_and_taken_back() -> None:
    scene = Scene([FakeLane(3), FakeLane(4)])
    scene.lanes[0].trouble = AWAY
    await scene.at(1000)
    assert scene.written == []
    await scene.at(1000 + QUIET_MS)
    assert (scene.read[3].reason, scene.read[3].since_ms) == (Reason.TARGET_UNREACHABLE, 1000)
    assert "COORDINATOR_NOT_AVAILABLE" in scene.read[3].detail
    await scene.at(2000 + QUIET_MS)
    assert len(scene.written) == 1
    await scene.at(1000 + QUIET_MS + REPEAT_MS)
    assert (scene.read[3].since_ms, scene.read[3].seen_ms) == (1000, 1000 + QUIET_MS + REPEAT_MS)
    scene.lanes[0].trouble = None
    await scene.at(scene.now_ms + 1)
    assert scene.read == {}
    assert len(scene.written) == 3


async def test_given_a_lane_that_starts_over_then_its_trouble_goes_on_without_a_break() -> None:
    scene = Scene([FakeLane(3, AWAY, running=False)])
    await scene.at(0)
    await scene.at(QUIET_MS)
    scene.lanes[0] = FakeLane(3, None, running=False)
    await scene.at(QUIET_MS + 1)
    scene.lanes[0].trouble = AWAY
    await scene.at(QUIET_MS + 2)
    assert len(scene.written) == 1
    assert scene.read[3].since_ms == 0


async def test_given_a_lane_that_is_away_while_it_starts_over_then_its_trouble_is_taken_back_when_it_runs() -> None:
    scene = Scene([FakeLane(3, AWAY)])
    await scene.at(0)
    await scene.at(QUIET_MS)
    scene.lanes.clear()
    await scene.at(QUIET_MS + 1)
    scene.lanes.append(FakeLane(3))
    await scene.at(QUIET_MS + 2)
    assert scene.read == {}


async def test_given_that_it_can_not_be_said_then_the_next_step_says_it() -> None:
    scene = Scene([FakeLane(3, AWAY)], refuse=True)
    await scene.at(0)
    with pytest.raises(UnreachableError):
        await scene.at(QUIET_MS)
    scene.refuse = False
    await scene.at(QUIET_MS + 1)
    assert 3 in scene.read


async def test_given_a_lane_that_is_lost_then_nothing_more_is_said_of_it() -> None:
    scene = Scene([FakeLane(3, AWAY)])
    await scene.at(0)
    await scene.at(QUIET_MS)
    scene.lanes.clear()
    await scene.at(QUIET_MS + 1)
    assert len(scene.written) == 1


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (AWAY, Reason.TARGET_UNREACHABLE),
        (UnreachableError("no"), Reason.TARGET_UNREACHABLE),
        (AuthorizationError("no"), Reason.NOT_AUTHORIZED),
        (LedgerFormatError("no"), Reason.LEDGER_UNREADABLE),
        (ReplicatorError("no"), Reason.INTERNAL_ERROR),
    ],
)
def test_given_an_error_then_its_reason(error: ReplicatorError, reason: Reason) -> None:
    assert reason_of(error) is reason


def test_given_records_of_other_kinds_or_forms_then_nothing_is_lost() -> None:
    trouble = LaneTrouble(3, Reason.NOT_AUTHORIZED, "why", 1, 2)
    read: dict[int, LaneTrouble] = {}
    for pair in (encode_trouble(trouble), (b"command/x", b"{}"), (b"lane/x", b"{}"), (None, b"")):
        take_trouble(read, *pair)
    assert read == {3: trouble}
    take_trouble(read, b"lane/3", b'{"reason": "NEWER", "detail": "why", "since_ms": 1, "seen_ms": 2}')
    assert read[3].reason is Reason.UNKNOWN
    take_trouble(read, b"lane/3", b"what")
    assert read[3].reason is Reason.UNKNOWN
    take_trouble(read, trouble_key(3), None)
    assert read == {}
