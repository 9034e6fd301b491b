"""What a verb is: something that an operator has done to a link, by the CLI or by the API.

Four steps, the same for both: what would be done is read (`ahead`), it may be refused (`check`), the consequence is
said, and then it is run. What is shown and returned is plain JSON, so that it doesn't matter where it was run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, JsonValue, ValidationError

from replicator.config.models import LinkConfig, Settings
from replicator.dr.holds import Choice, Say
from replicator.errors import ConfigurationError

Row = Mapping[str, Any]


class Order(BaseModel):
    """What is wanted: of which topics, and why."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    topic: str | None = Field(default=None, description="A regular expression for whole names of source topics.")
    all: bool = Field(default=False, description="All topics, also those that come later; either this or `topic`.")
    why: str = Field(default="", max_length=500, description="For others: it is shown, and kept.")

    @property
    def choice(self) -> Choice:
        """The topics; ConfigurationError unless they are named in one of the two ways."""
        return Choice.of(self.topic, self.all)


WHOLE_LINK: dict[str, JsonValue] = {"x-whole-link": True}  # in an order's schema: topics can't be chosen

OrderT = TypeVar("OrderT", bound=Order)


def make_order(kind: type[OrderT], **values: object) -> OrderT:
    """The order with these options; ConfigurationError that says what is wrong with them."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise ConfigurationError(what_is_wrong(error)) from None


def what_is_wrong(error: ValidationError) -> str:
    """All of it, in one sentence."""
    found = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(map(str, each['loc'])) or 'it'}: {each['msg']}" for each in found)


def nothing_said(text: str) -> None:
    """Progress that nobody listens to."""


@dataclass(frozen=True, slots=True)
class Hand:
    """Who runs a verb: the name for the audit trail ("": the user of this process), who hears of progress, and where
    files go: `snapshot` is the file that a verb `saves`, `export` the directory of what a restore saves."""

    by: str = ""
    say: Say = nothing_said
    snapshot: Path | None = None
    export: Path | None = None


def _nothing_wrong(found: Row, order: Any) -> None:
    """Nothing is refused that can be looked at."""


@dataclass(frozen=True, slots=True)
class Verb(Generic[OrderT]):
    """`ahead` reads what would be done, and raises what `run` would; `check` raises WrongStateError if that isn't to
    be. `consequence` is a sentence about it, of several links together. `run` gets what `ahead` found, or None where
    nobody looked. All of them block."""

    name: str
    summary: str
    order: type[OrderT]
    ahead: Callable[[Settings, LinkConfig, OrderT], dict[str, Any]]
    consequence: Callable[[Sequence[Row], OrderT], str]
    run: Callable[[Settings, LinkConfig, OrderT, Row | None, Hand], dict[str, Any]]
    check: Callable[[Row, OrderT], None] = _nothing_wrong
    looks_first: bool = True  # False: what is ahead takes long to find, and `run` finds it itself
    saves: str = ""  # what it saves to a file before it changes anything
