"""The service's operations, from botocore's description of it: which request is which operation, and its shapes."""

from __future__ import annotations

import functools
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from botocore.loaders import Loader

from broker.msk.errors import BadRequest
from broker.msk.shapes import Checker, Member, Shape, from_text, write

API_VERSION = "2018-11-14"
_NOTHING = Shape("Nothing", "structure")


@dataclass(frozen=True)
class Operation:
    """One operation: how it is asked for, and the shapes of question and answer."""

    name: str
    method: str
    path: tuple[str, ...]
    status: int
    input: Shape
    output: Shape
    errors: frozenset[str]

    def matches(self, method: str, segments: tuple[str, ...]) -> dict[str, str] | None:
        """The labels of the path, decoded, when the request is for this operation."""
        if method != self.method or len(segments) != len(self.path):
            return None
        labels = {}
        for wanted, given in zip(self.path, segments, strict=True):
            if wanted.startswith("{"):
                labels[wanted[1:-1]] = urllib.parse.unquote(given)
            elif wanted != given:
                return None
        return labels

    def read(
        self, labels: Mapping[str, str], query: Mapping[str, list[str]], body: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The checked input, by names on the wire. Raises BadRequest that names everything that is wrong with it."""
        given = {name: body.get(name) for name, member in self.input.members.items() if member.location is None}
        for name, member in self.input.members.items():
            if member.location == "uri":
                given[name] = from_text(member.shape, labels[name])
            elif member.location == "querystring" and name in query:
                texts = query[name]
                given[name] = texts if member.shape.type == "list" else from_text(member.shape, texts[0])
        checker = Checker()
        out = checker.structure(self.input, given)
        problems = checker.problems
        if problems:
            count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''} detected: "
            raise BadRequest(count + "; ".join(problems[:10]), checker.first_path)
        return out

    def write(self, answer: Mapping[str, Any]) -> dict[str, Any]:
        """The answer's body. Raises TypeError for what isn't in the output's shape."""
        return cast(dict[str, Any], write(self.output, answer))


class Model:
    """The operations of the service and its exceptions' status codes."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        self._description = description
        self._shapes: dict[str, Shape] = {}
        self.operations = {name: self._operation(name) for name in description["operations"]}
        self.exceptions: dict[str, int] = {
            name: shape["error"]["httpStatusCode"]
            for name, shape in description["shapes"].items()
            if shape.get("exception")
        }

    def find(self, method: str, raw_path: str) -> tuple[Operation, dict[str, str]] | None:
        """The operation that a request (its path as it was sent, still encoded) asks for, and its path's labels."""
        segments = tuple(raw_path.strip("/").split("/"))
        for operation in self.operations.values():
            labels = operation.matches(method, segments)
            if labels is not None:
                return operation, labels
        return None

    def shape(self, name: str) -> Shape:
        """A shape by its name in the model. Raises KeyError."""
        if name in self._shapes:
            return self._shapes[name]
        raw = self._description["shapes"][name]
        members = raw.get("members", {})
        made = Shape(
            name=name,
            type=raw["type"],
            enum=tuple(raw.get("enum", ())),
            minimum=raw.get("min"),
            maximum=raw.get("max"),
            pattern=raw.get("pattern"),
            required=frozenset(members[member].get("locationName", member) for member in raw.get("required", ())),
        )
        self._shapes[name] = made
        for member, of in members.items():
            wire_name = of.get("locationName", member)
            made.members[wire_name] = Member(wire_name, of.get("location"), self.shape(of["shape"]))
        item = raw.get("member") or raw.get("value")
        if item:
            made.item.append(self.shape(item["shape"]))
        return made

    def _operation(self, name: str) -> Operation:
        raw = self._description["operations"][name]
        http = raw["http"]
        return Operation(
            name=name,
            method=http["method"],
            path=tuple(http["requestUri"].strip("/").split("/")),
            status=http.get("responseCode", 200),
            input=self.shape(raw["input"]["shape"]) if "input" in raw else _NOTHING,
            output=self.shape(raw["output"]["shape"]) if "output" in raw else _NOTHING,
            errors=frozenset(error["shape"] for error in raw.get("errors", ())),
        )


@functools.cache
def service_model() -> Model:
    """The model of botocore's own copy."""
    return Model(Loader().load_service_model("kafka", "service-2", API_VERSION))
