"""What a view is: something about a link that can be read from the clusters without changing anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from replicator.config.models import LinkConfig, Settings
from replicator.dr.holds import Choice


class Query(BaseModel):
    """What may be asked beside the link's name: nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class TopicQuery(Query):
    """Some of the link's topics."""

    topic: str | None = Field(
        default=None, description="A regular expression for whole names of source topics; without: all."
    )

    @property
    def choice(self) -> Choice:
        """These topics."""
        return Choice.of(self.topic, self.topic is None)


class ReadyQuery(TopicQuery):
    """Some of the link's topics, and what of them doesn't matter."""

    ignore: str = Field(default="", description="Kinds, with commas: quotas, users, acls, configs, groups, clocks.")


class GroupQuery(Query):
    """One of the link's groups."""

    group: str | None = Field(default=None, description="Only this group, with all its topics.")


class CountQuery(Query):
    """How many."""

    count: int = Field(default=20, ge=1, le=1000, description="How many, the newest first.")


class PositionQuery(Query):
    """A position."""

    topic: str = Field(description="The topic, as it is called where the position is.")
    partition: int = Field(ge=0, lt=1 << 31)
    offset: int = Field(ge=0, lt=1 << 63)
    reverse: bool = Field(default=False, description="The position is one on the target.")


Q = TypeVar("Q", bound=Query)


@dataclass(frozen=True, slots=True)
class View(Generic[Q]):
    """Read by `read(settings, link, query)`, which blocks, and raises ReplicatorError; the answer is JSON of the type
    `answer`. `name` is the last part of its path; of the status of a link itself it is "".

    One that is `slow` may take minutes where clusters are: it holds up no other, and who asks over HTTP is patient.
    """

    name: str
    summary: str
    query: type[Q]
    read: Callable[[Settings, LinkConfig, Q], Any]
    answer: Any
    slow: bool = False
