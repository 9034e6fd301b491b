"""As much of PromQL as is needed to see which metrics and labels an expression uses."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

_TOKEN = re.compile(
    r"""\s*(?:(?P<string>"[^"]*")|(?P<range>\[[^]]*\])|(?P<name>[A-Za-z_:][A-Za-z0-9_:]*)|(?P<number>[0-9][0-9.smhd]*)"""
    r"""|(?P<sign>=~|!~|!=|==|>=|<=|[-+*/%^<>=(){},]))"""
)
_OPERATORS = frozenset({"and", "or", "unless", "bool", "offset"})
_GROUPING = frozenset({"by", "on", "ignoring"})  # `without`, `group_left` aren't used, and not understood


@dataclass
class Selector:
    """One use of a metric: its matchers are (label, operator, value)."""

    name: str
    matchers: list[tuple[str, str, str]] = field(default_factory=list)


@dataclass
class Expression:
    """Its selectors; `grouped` are the label lists of `by` and `on` with the selectors that they apply to."""

    selectors: list[Selector] = field(default_factory=list)
    grouped: list[tuple[str, list[str], list[Selector]]] = field(default_factory=list)

    @property
    def result(self) -> list[str] | None:
        """The labels that an aggregation leaves, None if there is none."""
        lists = [labels for word, labels, _ in self.grouped if word == "by"]
        return lists[0] if lists else None


def parse(text: str) -> Expression:
    """ValueError for what isn't understood."""
    return _Parser(_tokens(text)).run()


def _tokens(text: str) -> list[tuple[str, str]]:
    found, at = [], 0
    text = text.rstrip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise ValueError(f"{text[at:]!r} in {text!r}")
        found.append((str(match.lastgroup), match[str(match.lastgroup)]))
        at = match.end()
    return found


class _Parser:
    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = [*tokens, ("end", "")]
        self._at = 0
        self._found = Expression()

    def run(self) -> Expression:
        self._until_closed("end")
        return self._found

    def _take(self, *wanted: str) -> tuple[str, str]:
        token = self._tokens[self._at]
        if wanted and not {*token} & {*wanted}:
            raise ValueError(f"{token} instead of {wanted}")
        self._at += 1
        return token

    def _until_closed(self, closing: str) -> list[Selector]:
        """Reads up to and with the token that closes; the selectors on the way."""
        inside: list[Selector] = []
        while True:
            kind, text = self._take()
            if closing in (kind, text):
                return inside
            if kind == "end":
                raise ValueError("ends too early")
            if text == "(":
                inside += self._until_closed(")")
            elif kind == "name" and text in _GROUPING:
                self._group(text, inside)
            elif kind == "name" and text not in _OPERATORS:
                inside += self._name(text)

    def _name(self, text: str) -> list[Selector]:
        following = self._tokens[self._at][1]
        if following == "by":
            self._take()
            labels = self._labels()
            position = len(self._found.grouped)
            self._take("(")
            inside = self._until_closed(")")
            self._found.grouped.insert(position, ("by", labels, inside))
            return inside
        if following == "(":
            self._take()
            return self._until_closed(")")
        if following in ("without", "group_left", "group_right"):
            raise ValueError(f"{following} isn't understood")
        return [self._selector(text)]

    def _group(self, word: str, before: list[Selector]) -> None:
        if word == "by":
            raise ValueError("write `sum by (x) (…)`, not `sum(…) by (x)`")
        self._found.grouped.append((word, self._labels(), list(before)))

    def _labels(self) -> list[str]:
        self._take("(")
        labels = []
        while True:
            kind, text = self._take("name", ",", ")")
            if text == ")":
                return labels
            if kind == "name":
                labels.append(text)

    def _selector(self, name: str) -> Selector:
        found = Selector(name)
        self._found.selectors.append(found)
        if self._tokens[self._at][1] != "{":
            return found
        self._take()
        while self._take("name", ",", "}")[1] != "}":
            self._at -= 1
            if self._take("name", ",")[1] == ",":
                continue
            label = self._tokens[self._at - 1][1]
            _, operator = self._take("=", "!=", "=~", "!~")
            found.matchers.append((label, operator, self._take("string")[1].strip('"')))
        return found
