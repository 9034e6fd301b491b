"""Which topics a consumer group is about: subscriptions by name and by pattern, and what exists of them.

Patterns are Python's instead of RE2's.
"""

from __future__ import annotations

import hashlib
import re
import uuid
from collections.abc import Iterable, Mapping
from typing import Protocol

from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.groups.consumer_member import ConsumerMember
from broker.groups.consumer_records import GroupSnapshot, ResolvedRegex

MAX_REGEX_LENGTH = 10_000


class TopicsView(Protocol):
    """What a group asks of the cluster's topics."""

    def find(self, name: str) -> tuple[uuid.UUID, int] | None:
        """Id and number of partitions."""

    def names(self) -> Iterable[str]:
        """All topics, internal ones included."""


class NoTopics:
    """A cluster without topics."""

    def find(self, name: str) -> tuple[uuid.UUID, int] | None:
        """None."""
        return None

    def names(self) -> Iterable[str]:
        """None at all."""
        return ()


def topics_of(member: ConsumerMember, regexes: Mapping[str, ResolvedRegex]) -> frozenset[str]:
    """What the member subscribes to, by name or by its pattern, whether or not it exists."""
    resolved = regexes.get(member.regex) if member.regex else None
    return member.topics if resolved is None else member.topics | resolved.topics


def subscribed(snapshot: GroupSnapshot) -> set[str]:
    """What any member subscribes to."""
    return {name for member in snapshot.members.values() for name in topics_of(member, snapshot.regexes)}


def topics_hash(topics: TopicsView, names: Iterable[str]) -> int:
    """A number that changes with what exists of the named topics; 0 when nothing does."""
    existing = [(name, *found) for name in sorted(names) if (found := topics.find(name)) is not None]
    if not existing:
        return 0
    digest = hashlib.blake2b(repr(existing).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def compile_pattern(pattern: str) -> re.Pattern[str]:
    """The pattern, to be matched against whole names. Raises KafkaError INVALID_REGULAR_EXPRESSION."""
    try:
        if len(pattern) > MAX_REGEX_LENGTH:
            raise re.error("too long")
        return re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise KafkaError(
            ErrorCode.invalid_regular_expression,
            f"SubscribedTopicRegex `{pattern}` is not a valid regular expression: {error}.",
        ) from error
