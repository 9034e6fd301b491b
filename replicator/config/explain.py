"""What pydantic finds wrong, in the user's words: the key, what it may be, and the nearest name for a mistyped one."""

from __future__ import annotations

import difflib
import types
import typing
from typing import Any

from pydantic import BaseModel, ValidationError

from replicator.config.later import key_not_available, value_not_available
from replicator.config.models import Settings
from replicator.config.tree import KeyPath, Problem, Tree

_SECRET_KEYS = frozenset({"password", "key_password", "token"})


def explain(error: ValidationError, tree: Tree) -> list[Problem]:
    """The problems behind `error`, one per key, in the file's order."""
    problems: dict[KeyPath, Problem] = {}
    for detail in error.errors(include_url=False):
        path = tree.known(detail["loc"])
        kind = detail["type"]
        if kind == "missing":
            missing = detail["loc"]
            problems.setdefault(missing, Problem(missing, "is missing" + _hint(missing)))
        elif kind == "extra_forbidden":
            problems.setdefault(path, Problem(path, key_not_available(path) or _unknown_key(path)))
        else:
            problems.setdefault(path, Problem(path, _bad_value(path, detail)))
    return sorted(problems.values(), key=lambda problem: tree.lines.get(tree.known(problem.path), 0))


def nearest(word: str, words: typing.Iterable[str]) -> str:
    """`; did you mean …?`, or nothing."""
    found = difflib.get_close_matches(word, list(words), n=1, cutoff=0.6)
    return f"; did you mean `{found[0]}`?" if found else ""


def _unknown_key(path: KeyPath) -> str:
    fields = _fields_at(path[:-1])
    elsewhere = nearest(str(path[-1]), fields)
    return "unknown key" + (elsewhere or f"; known here are {', '.join(fields)}")


def _hint(path: KeyPath) -> str:
    hints = {
        "clusters": "; name two clusters, such as `clusters: {us: {bootstrap_servers: host:9092}, eu: {…}}`",
        "links": "; give at least one, such as `links: [{name: us-to-eu, source: us, target: eu}]`",
        "bootstrap_servers": "; write `bootstrap_servers: host:9092,host:9092`",
        "source": "; give the name of a cluster under `clusters:`",
        "target": "; give the name of a cluster under `clusters:`",
        "name": "; every link needs a name of its own, such as us-to-eu",
    }
    return hints.get(str(path[-1]), "")


def _bad_value(path: KeyPath, detail: Any) -> str:
    value, context = detail["input"], detail.get("ctx", {})
    last = str(path[-1]) if path else ""
    shown = "" if last in _SECRET_KEYS or not isinstance(value, str) else f"{value[:100]!r} "
    later = value_not_available(path, value)
    if later is not None:
        return later
    if last == "start":
        return f"{shown}must be earliest, latest, or a time with its zone, such as 2026-01-01T00:00:00Z"
    match detail["type"]:
        case "literal_error":
            words = str(context["expected"]).replace("'", "")
            return f"{shown}must be {words.lower() if words in ('True', 'False') else words}" + (
                nearest(value, words.replace(" or ", ", ").split(", ")) if isinstance(value, str) else ""
            )
        case "int_parsing" | "int_type" | "int_from_float":
            return f"{shown}must be a whole number" + (" (bytes, or such as 64 MiB)" if last.endswith("_bytes") else "")
        case "bool_parsing" | "bool_type":
            return f"{shown}must be true or false"
        case "greater_than_equal":
            return f"{shown}must be at least {context['ge']}"
        case "less_than_equal":
            return f"{shown}must be at most {context['le']}"
        case "tuple_type":
            example = f'["{value}"]' if isinstance(value, str) else "[…]"
            return f"must be a list, such as {example}"
        case "dict_type" | "model_type" | "model_attributes_type":
            return f"must be a mapping with {', '.join(_fields_at(path)) or 'names as keys'}"
        case "string_type":
            return "must be text" if value is not None else "has no value; give one, or remove the key"
    return f"{shown}{detail['msg'].removeprefix('Value error, ')}"


def _fields_at(path: KeyPath) -> list[str]:
    """The keys that may stand below `path`."""
    present: Any = Settings
    for step in path:
        if isinstance(present, type) and issubclass(present, BaseModel):
            field = present.model_fields.get(str(step))
            present = field.annotation if field else None
        else:
            arguments = [item for item in typing.get_args(present) if item is not Ellipsis]
            present = arguments[-1] if arguments else None
        if isinstance(present, types.UnionType):
            present = typing.get_args(present)[0]
    if isinstance(present, type) and issubclass(present, BaseModel):
        return list(present.model_fields)
    return []
