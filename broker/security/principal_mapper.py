"""From a certificate's subject to a user's name: `ssl.principal.mapping.rules`.

Behaviour of Kafka's `SslPrincipalMapper`: the first rule whose pattern fits the whole subject counts, each occurrence
of the pattern is replaced, `L` and `U` change the case; DEFAULT leaves the subject as it is. Nothing fits: no name.
Differs: a replacement with a group that its pattern doesn't have is refused, where Kafka takes `$2` for text if there
is any group, and lets nobody in if there is none.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from broker.config_defs import InvalidConfig

_PART = r"(DEFAULT)|RULE:((?:\\.|[^\\/])*)/((?:\\.|[^\\/])*)/([LU]?).*?|(.*?)"
_RULE = re.compile(_PART)
_SPLITTER = re.compile(rf"\s*({_PART})\s*(,\s*|$)")
_REFERENCE = re.compile(r"\\(.)|\$(\d)|\$\{([A-Za-z][A-Za-z0-9]*)\}|(\$|\\$)", re.DOTALL)
_NAMED_GROUP = re.compile(r"\(\?<(?=[A-Za-z])")
_MAX_RULES_BYTES = 16 << 10
_MAX_SUBJECT = 2048


class PrincipalMapper:
    """The rules, parsed. InvalidConfig for what isn't a list of rules."""

    def __init__(self, rules: str) -> None:
        self._rules: list[_Rule | None] = []  # None: DEFAULT
        if len(rules) > _MAX_RULES_BYTES:
            raise InvalidConfig(f"ssl.principal.mapping.rules has {len(rules)} characters")
        for text in _split(rules):
            match = _RULE.match(text)
            assert match is not None  # anything begins with nothing
            if match.end() < len(text):
                raise InvalidConfig(
                    f"Invalid value {rules} for configuration ssl.principal.mapping.rules: Invalid rule: `{text}`, "
                    f"unmatched substring: `{text[match.end() :]}`"
                )
            if match[1]:
                self._rules.append(None)
            elif match[2] is not None:
                self._rules.append(_Rule(match[2], match[3], match[4]))

    def name_of(self, subject: str) -> str | None:
        """The user's name for a subject such as `CN=carol,OU=shop`; None where no rule fits."""
        if len(subject) > _MAX_SUBJECT:
            return None
        for rule in self._rules:
            name = subject if rule is None else rule.apply(subject)
            if name is not None:
                return name
        return None


class _Rule:
    def __init__(self, pattern: str, replacement: str, case: str) -> None:
        wrong = f"Invalid value for configuration ssl.principal.mapping.rules: RULE:{pattern}/{replacement}/"
        try:
            self._pattern = re.compile(_NAMED_GROUP.sub("(?P<", pattern))
        except (re.error, OverflowError) as error:
            raise InvalidConfig(f"{wrong}: {error}") from None
        self._case = case
        self._pieces: list[str | int] = []  # text, and groups by number
        at = 0
        for found in _REFERENCE.finditer(replacement):
            self._pieces.append(replacement[at : found.start()])
            at = found.end()
            literal, number, name, alone = found.groups()
            if literal is not None:
                self._pieces.append(literal)
                continue
            group = self._pattern.groupindex.get(name) if name is not None else None if alone else int(number)
            if group is None or group > self._pattern.groups:
                raise InvalidConfig(f"{wrong}: No group {name or number or ''}")
            while number is not None and replacement[at : at + 1].isdecimal():  # as many digits as make a group
                longer = group * 10 + int(replacement[at])
                if longer > self._pattern.groups:
                    break
                group, at = longer, at + 1
            self._pieces.append(group)
        self._pieces.append(replacement[at:])

    def apply(self, subject: str) -> str | None:
        if self._pattern.fullmatch(subject) is None:
            return None
        name = self._pattern.sub(self._replace, subject)
        return name.lower() if self._case == "L" else name.upper() if self._case == "U" else name

    def _replace(self, match: re.Match[str]) -> str:
        return "".join(piece if isinstance(piece, str) else match[piece] or "" for piece in self._pieces)


def _split(rules: str) -> Iterator[str]:
    return (match[1] for match in _SPLITTER.finditer(rules.strip()))


@lru_cache(maxsize=16)
def mapper(rules: str) -> PrincipalMapper:
    """The same one for the same rules."""
    return PrincipalMapper(rules)
