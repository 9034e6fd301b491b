"""Tags on records of any kind, by their ARN."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Generic, Protocol, TypeVar

from broker.msk.errors import BadRequest
from broker.msk.records import Record
from broker.msk.state import Collection

MAX_TAGS = 50
MAX_KEY, MAX_VALUE = 128, 256
R = TypeVar("R", bound=Record)


class TagStore(Protocol):
    """Something whose things have tags."""

    def tags(self, arn: str) -> Mapping[str, str] | None:
        """None when the ARN isn't of a thing of this store."""
        ...

    def set_tags(self, arn: str, tags: Mapping[str, str]) -> None:
        """Replace all tags of something that is there."""
        ...


class Tagged(Generic[R]):
    """The tags of a collection's records."""

    def __init__(self, records: Collection[R]) -> None:
        self._records = records

    def tags(self, arn: str) -> Mapping[str, str] | None:
        """None when there is no such record."""
        found = self._find(arn)
        return None if found is None else found.tags

    def set_tags(self, arn: str, tags: Mapping[str, str]) -> None:
        """Replace the tags of a record. Raises KeyError when there is none."""
        found = self._find(arn)
        if found is None:
            raise KeyError(arn)
        self._records.put(found.key, found.model_copy(update={"tags": dict(tags)}))

    def _find(self, arn: str) -> R | None:
        return next((record for record in self._records if record.arn == arn), None)


def check_tags(tags: Mapping[str, str], parameter: str = "tags") -> dict[str, str]:
    """Tags as AWS allows them. Raises BadRequest."""
    if len(tags) > MAX_TAGS:
        raise BadRequest(f"A resource can have at most {MAX_TAGS} tags.", parameter)
    for key, value in tags.items():
        if not 1 <= len(key) <= MAX_KEY or len(value) > MAX_VALUE:
            raise BadRequest(f"A tag's key has 1 to {MAX_KEY} characters, its value at most {MAX_VALUE}.", parameter)
        if key.lower().startswith("aws:"):
            raise BadRequest("Tag keys that start with aws: are reserved for system use.", parameter)
    return dict(tags)
