"""Patterns of policies: `*`, `?` and policy variables, matched in time that grows with pattern times text at most.

Source: AWS IAM user guide, "IAM JSON policy elements: Resource" and "Variables and tags".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

Context = Mapping[str, str | Sequence[str]]

_ANY, _ONE = -1, -2
_VARIABLE = re.compile(r"\$\{([^}$]{1,256})\}")


def has_variables(pattern: str) -> bool:
    """Whether it depends on who asks."""
    return "${" in pattern


def compiled(pattern: str, context: Context | None = None, *, ignore_case: bool = False) -> tuple[int, ...] | None:
    """The pattern's tokens: code points and wildcards. None if a variable of it has no single value here: nothing
    matches it then. Without a context variables are plain text, as in policies before 2012-10-17."""
    tokens: list[int] = []
    position = 0
    for match in _VARIABLE.finditer(pattern) if context is not None else ():
        tokens += _tokens(pattern[position : match.start()], ignore_case)
        position = match.end()
        assert context is not None
        value = _value(match[1], context)
        if value is None:
            return None
        tokens += map(ord, value.lower() if ignore_case else value)
    return tuple(tokens + _tokens(pattern[position:], ignore_case))


def matches(tokens: Sequence[int], text: str) -> bool:
    """Whether the whole text is like the pattern. Greedy with one way back, which is enough for wildcards."""
    at = index = 0
    star, resume = -1, 0
    while at < len(text):
        token = tokens[index] if index < len(tokens) else None
        if token == _ANY:
            star, resume = index, at
            index += 1
        elif token == _ONE or (token is not None and token == ord(text[at])):
            index += 1
            at += 1
        elif star >= 0:
            resume += 1
            index, at = star + 1, resume
        else:
            return False
    return all(token == _ANY for token in tokens[index:])


def like(pattern: str, text: str, *, ignore_case: bool = False) -> bool:
    """`matches` for a pattern that is used once."""
    tokens = compiled(pattern, ignore_case=ignore_case)
    return tokens is not None and matches(tokens, text.lower() if ignore_case else text)


def _tokens(text: str, ignore_case: bool) -> list[int]:
    return [{"*": _ANY, "?": _ONE}.get(letter, ord(letter)) for letter in (text.lower() if ignore_case else text)]


def _value(variable: str, context: Context) -> str | None:
    if variable in ("*", "?", "$"):
        return variable
    name, separator, default = variable.partition(",")
    found = lookup(context, name.strip())
    if found is None:
        return default.strip().strip("'") if separator else None
    return found if isinstance(found, str) else found[0] if len(found) == 1 else None


def lookup(context: Context, key: str) -> str | Sequence[str] | None:
    """A condition key's value; the names of keys have no case, but the tags' behind the slash have."""
    head, slash, tag = key.partition("/")
    for name, value in context.items():
        other, other_slash, other_tag = name.partition("/")
        if other.lower() == head.lower() and (slash, tag) == (other_slash, other_tag):
            return value
    return None
