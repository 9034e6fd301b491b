"""The documents in policies/, with their placeholders filled in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

DIRECTORY = Path(__file__).resolve().parents[2] / "policies"
PLACEHOLDER = re.compile(r"\$\{([A-Za-z]+)\}")


def names() -> list[str]:
    """Of all documents."""
    return sorted(path.stem for path in DIRECTORY.glob("*.json"))


def document(name: str, values: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The document of that name. With `values` all of its placeholders must be among them."""
    text = (DIRECTORY / f"{name}.json").read_text()
    if values is not None:
        text = PLACEHOLDER.sub(lambda match: values[match[1]], text)
    found: dict[str, Any] = json.loads(text)
    return found


def placeholders(name: str) -> set[str]:
    """The names of a document's placeholders."""
    return set(PLACEHOLDER.findall((DIRECTORY / f"{name}.json").read_text()))


def each_action(name: str) -> Iterator[tuple[str, str]]:
    """Sid and action, of every statement the actions one by one."""
    for statement in document(name)["Statement"]:
        for action in listed(statement["Action"]):
            yield statement["Sid"], action


def without(statements: list[dict[str, Any]], sid: str, action: str) -> list[dict[str, Any]]:
    """The same statements, but that this one doesn't allow this action."""
    found = []
    for statement in statements:
        actions = [each for each in statement["Action"] if (statement["Sid"], each) != (sid, action)]
        if actions:
            found.append(statement | {"Action": actions})
    assert found != statements, f"{sid} doesn't allow {action}"
    return found


def listed(value: str | list[str]) -> list[str]:
    """A single text is a list of one."""
    return [value] if isinstance(value, str) else value
