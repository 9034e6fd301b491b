"""Why a group's position isn't kept in step, in words, and what comes next."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from replicator.config.models import SecurityConfig
from replicator.sync.plan import Held, Kind, Why
from replicator.wire.iam import GROUP, TOPIC, in_iam
from replicator.wire.kafka_errors import error_name
from replicator.wire.permissions import principal

_NAMED = 3  # partitions, of those that have the same trouble

Said = tuple[Why, str]


class Shown(Protocol):
    """What is needed of a position."""

    topic: str
    partition: int
    why: Why | None
    detail: str


def held_back(group: str, views: Sequence[Shown]) -> list[Held]:
    """One line for each kind of trouble that the group's positions have."""
    by_why: dict[Why, list[Shown]] = {}
    for view in views:
        if view.why is not None:
            by_why.setdefault(view.why, []).append(view)
    found = []
    for why, having in by_why.items():
        named = ", ".join(f"{view.topic}-{view.partition}" for view in having[:_NAMED])
        more = f" and {len(having) - _NAMED} more" if len(having) > _NAMED else ""
        found.append(Held(Kind.GROUP, group, why, f"{named}{more}: {having[0].detail}"))
    return found


def diverged(target: str) -> Said:
    """Somebody else has moved it. Without numbers, which would be said anew whenever they change."""
    return Why.DIVERGED, (
        f"somebody else has moved it on cluster {target}, and it stays as it is; to let it follow again, delete the "
        "group's offsets of this topic there (kafka-consumer-groups.sh --delete-offsets)"
    )


def active(state: str, target: str) -> Said:
    """It has members."""
    return Why.ACTIVE, f"the group has members on cluster {target} ({state}); its positions follow when it has none"


def inexact() -> Said:
    """It may be early."""
    return Why.INEXACT, (
        "some records may be read again, for the offset map of what is so old is thinned; `replicator groups` says how "
        "many"
    )


def not_copied(detail: str) -> Said:
    """There is nothing to be at."""
    return Why.NOT_COPIED, detail


def untranslatable(detail: str) -> Said:
    """Nobody knows where it is."""
    return Why.NOT_COPIED, detail


def too_long(group: str) -> Held:
    """Its name doesn't fit into the ledger."""
    return Held(Kind.GROUP, group, Why.UNSUPPORTED, "a group's name may have 700 bytes to be kept in step")


def not_taken(group: str, code: int, cluster: str) -> Held:
    """The cluster answered with an error that won't go away by itself."""
    return Held(Kind.GROUP, group, Why.REFUSED, f"cluster {cluster}: {error_name(code)} ({code})")


def not_allowed(
    group: str, operation: str, cluster: str, security: SecurityConfig, *, topic: str | None = None
) -> Held:
    """An ACL is missing."""
    who = principal(security)
    on = f"group {group}" if topic is None else f"topic {topic}"
    iam = in_iam(GROUP, operation) if topic is None else in_iam(TOPIC, "Read")
    return Held(
        Kind.GROUP,
        group,
        Why.NOT_AUTHORIZED,
        f"cluster {cluster}: grant {operation} on {on} to {who} ({iam})",
    )
