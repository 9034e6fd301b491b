"""Kafka versions that clusters may have. All run on the same bundled broker: the version is what is shown, and what the
service's rules (ZooKeeper, tiered storage, upgrades) go by.

Source: AWS developer guide, "Supported Apache Kafka versions".
"""

from __future__ import annotations

ACTIVE = (
    "2.8.1", "2.8.2.tiered", "3.3.1", "3.3.2", "3.4.0", "3.5.1", "3.6.0", "3.7.x", "3.7.x.kraft", "3.8.x",
    "3.8.x.kraft", "3.9.x", "3.9.x.kraft", "4.0.x.kraft", "4.1.x.kraft",
)  # fmt: skip
DEPRECATED = (
    "1.1.1", "2.1.0", "2.2.1", "2.3.1", "2.4.1", "2.4.1.1", "2.5.1", "2.6.0", "2.6.1", "2.6.2", "2.6.3", "2.7.0",
    "2.7.1", "2.7.2", "2.8.0", "3.1.1", "3.2.0",
)  # fmt: skip
STATUS = dict.fromkeys(DEPRECATED, "DEPRECATED") | dict.fromkeys(ACTIVE, "ACTIVE")


def numbers(version: str) -> tuple[int, ...]:
    """The version's numbers, for comparison; x, tiered and kraft are none."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


ALL = tuple(sorted(STATUS, key=lambda version: (numbers(version), version)))


def kraft(version: str) -> bool:
    """Whether clusters of this version have no ZooKeeper."""
    return version.endswith(".kraft") or numbers(version) >= (4,)


def tiered(version: str) -> bool:
    """Whether clusters of this version may have tiered storage."""
    return version.endswith(".tiered") or numbers(version) >= (3, 6)


def upgrades(version: str) -> list[str]:
    """What a cluster may be updated to: newer versions. There is no way from ZooKeeper to KRaft."""
    return [
        to for to in ALL if numbers(to) > numbers(version) and kraft(to) == kraft(version) and STATUS[to] == "ACTIVE"
    ]
