"""Values that travel, against the shapes of the service model: input is checked and read, output written.

Members have their names on the wire (`clusterArn`) on both sides. Input: what isn't in the shape is passed over, as the
service does; JSON's null counts as left out; a blob becomes bytes. Output: None is left out; what the shape doesn't
know raises TypeError, since it is a mistake of ours.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

MAX_SHOWN = 128  # characters of a wrong value in a message
MAX_ITEMS = 10_000  # of one list or map; the model gives no limits of its own


@dataclass(frozen=True)
class Member:
    """A member of a structure: where it travels (`uri`, `querystring`, or in the body) and its shape."""

    name: str
    location: str | None
    shape: Shape


@dataclass(frozen=True)
class Shape:
    """One shape of the service model. `members` is filled once all shapes are known: shapes may contain themselves."""

    name: str
    type: str
    enum: tuple[str, ...] = ()
    minimum: int | None = None
    maximum: int | None = None
    pattern: str | None = None
    required: frozenset[str] = frozenset()
    members: dict[str, Member] = field(default_factory=dict, hash=False, compare=False)
    item: list[Shape] = field(default_factory=list, hash=False, compare=False)


class Checker:
    """Reads input by its shape and collects what is wrong, so that one answer names all of it."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.first_path: str | None = None

    def structure(self, shape: Shape, value: object, path: str = "") -> dict[str, Any]:
        """The members that the shape knows. Problems are in `problems` afterwards."""
        if not isinstance(value, Mapping):
            self._problem(path or "body", value, "Member must be an object")
            return {}
        out: dict[str, Any] = {}
        for name, member in shape.members.items():
            where = f"{path}.{name}" if path else name
            given = value.get(name)
            if given is None:
                if name in shape.required:
                    self._problem(where, None, "Member must not be null")
                continue
            out[name] = self.value(member.shape, given, where)
        return out

    def value(self, shape: Shape, value: Any, path: str) -> Any:
        """The value as Python has it."""
        if shape.type == "structure":
            return self.structure(shape, value, path)
        if shape.type == "list":
            return self._list(shape, value, path)
        if shape.type == "map":
            return self._map(shape, value, path)
        if shape.type == "string":
            return self._string(shape, value, path)
        if shape.type in ("integer", "long", "double"):
            return self._number(shape, value, path)
        if shape.type == "boolean":
            if not isinstance(value, bool):
                self._problem(path, value, "Member must be a boolean")
            return value
        if shape.type == "blob":
            return self._blob(value, path)
        raise TypeError(f"the shape {shape.name} has a type that isn't read from requests: {shape.type}")

    def _list(self, shape: Shape, value: Any, path: str) -> list[Any]:
        if not isinstance(value, list):
            self._problem(path, value, "Member must be a list")
            return []
        if self._too_long(shape, value, path):
            return []
        out = []
        for number, item in enumerate(value, 1):
            where = f"{path}.{number}.member"
            if item is None:
                self._problem(where, None, "Member must not be null")
            else:
                out.append(self.value(shape.item[0], item, where))
        return out

    def _map(self, shape: Shape, value: Any, path: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            self._problem(path, value, "Member must be an object")
            return {}
        if self._too_long(shape, value, path):
            return {}
        return {
            key: self.value(shape.item[0], item, f"{path}.{key}") for key, item in value.items() if item is not None
        }

    def _too_long(self, shape: Shape, value: Sequence[Any] | Mapping[str, Any], path: str) -> bool:
        maximum = min(shape.maximum or MAX_ITEMS, MAX_ITEMS)
        if len(value) > maximum:
            self._problem(path, None, f"Member must have length less than or equal to {maximum}")
        elif shape.minimum is not None and len(value) < shape.minimum:
            self._problem(path, None, f"Member must have length greater than or equal to {shape.minimum}")
        return len(value) > maximum

    def _string(self, shape: Shape, value: Any, path: str) -> Any:
        if not isinstance(value, str):
            self._problem(path, value, "Member must be a string")
            return ""
        if shape.enum and value not in shape.enum:
            self._problem(path, value, f"Member must satisfy enum value set: [{', '.join(shape.enum)}]")
        if shape.maximum is not None and len(value) > shape.maximum:
            self._problem(path, value, f"Member must have length less than or equal to {shape.maximum}")
        if shape.minimum is not None and len(value) < shape.minimum:
            self._problem(path, value, f"Member must have length greater than or equal to {shape.minimum}")
        elif shape.pattern is not None and not re.search(shape.pattern, value):
            self._problem(path, value, f"Member must satisfy regular expression pattern: {shape.pattern}")
        return value

    def _number(self, shape: Shape, value: Any, path: str) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            self._problem(path, value, "Member must be a number")
            return 0
        if shape.type != "double" and int(value) != value:
            self._problem(path, value, "Member must be a whole number")
            return 0
        if abs(value) >= 2**63 or (shape.type == "integer" and abs(value) >= 2**31):
            self._problem(path, value, "Member is out of range")
            return 0
        if shape.minimum is not None and value < shape.minimum:
            self._problem(path, value, f"Member must have value greater than or equal to {shape.minimum}")
        if shape.maximum is not None and value > shape.maximum:
            self._problem(path, value, f"Member must have value less than or equal to {shape.maximum}")
        return value if shape.type == "double" else int(value)

    def _blob(self, value: Any, path: str) -> bytes:
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, TypeError, ValueError):
            self._problem(path, None, "Member must be base64")
            return b""

    def _problem(self, path: str, value: Any, constraint: str) -> None:
        shown = "null" if value is None else f"'{str(value)[:MAX_SHOWN]}'"
        self.problems.append(f"Value {shown} at '{path}' failed to satisfy constraint: {constraint}")
        self.first_path = self.first_path or path


def from_text(shape: Shape, text: str) -> Any:
    """What a path or query says, as JSON would have it; what can't be read stays text, for `Checker` to refuse."""
    if shape.type in ("integer", "long") and re.fullmatch(r"-?\d{1,18}", text):
        return int(text)
    if shape.type == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


def write(shape: Shape, value: Any) -> Any:
    """A value of ours as JSON has it. Raises TypeError for what the shape doesn't know."""
    if shape.type == "structure":
        unknown = value.keys() - shape.members.keys()
        if unknown:
            raise TypeError(f"{shape.name} has no {', '.join(sorted(unknown))}")
        return {name: write(shape.members[name].shape, item) for name, item in value.items() if item is not None}
    if shape.type == "list":
        return [write(shape.item[0], item) for item in value]
    if shape.type == "map":
        return {key: write(shape.item[0], item) for key, item in value.items()}
    if shape.type == "timestamp":
        return timestamp(value)
    if shape.type == "blob":
        return base64.b64encode(value).decode()
    if shape.enum and value not in shape.enum:
        raise TypeError(f"{value!r} is none of {shape.name}")
    return value


def timestamp(moment: datetime) -> str:
    """ISO 8601 with milliseconds, UTC."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
