"""The states of a classic consumer group and the settings it obeys."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class GroupState(enum.Enum):
    """Kafka's names, as ListGroups shows them."""

    EMPTY = "Empty"
    PREPARING_REBALANCE = "PreparingRebalance"
    COMPLETING_REBALANCE = "CompletingRebalance"
    STABLE = "Stable"
    DEAD = "Dead"


@dataclass(frozen=True, slots=True)
class GroupSettings:
    """The broker's `group.*` properties that matter to a classic group."""

    initial_rebalance_delay_ms: int = 3000
    min_session_timeout_ms: int = 6000
    max_session_timeout_ms: int = 1_800_000
    max_size: int = 2**31 - 1
