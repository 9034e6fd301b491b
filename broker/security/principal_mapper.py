"""From a certificate's subject to a user's name: `ssl.principal.mapping.rules`.

Behaviour of Kafka's `SslPrincipalMapper`: the first rule whose pattern is found in the subject counts, each occurrence
of the pattern is replaced, `L` and `U` change the case; DEFAULT leaves the subject as it is. Nothing fits: no name.
"""

from __future__ import annotations

import re
from functools import lru_cache

from broker.config_defs import InvalidConfig

_RULE = re.compile(r"\s*(?:(DEFAULT)|RULE:((?:\\.|[^\\/])*)/((?:\\.|[^\\/])*)/([LU]?))\s*(?:,|$)")
_MAX_RULES_BYTES = 16 << 10
_MAX_SUBJECT = 2048


class PrincipalMapper:
    """The rules, parsed. InvalidConfig for what isn't a list of rules."""

    def __init__(self, rules: str) -> None:
        self._rules: list[tuple[re.Pattern[str], str, str] | None] = []  # None: DEFAULT
        if len(rules) > _MAX_RULES_BYTES:
            raise InvalidConfig(f"ssl.principal.mapping.rules has {len(rules)} characters")
        position = 0
        while position < len(rules):
            match = _RULE.match(rules, position)
            if match is None or match.end() == position:
                wrong = f"Invalid value {rules} for configuration ssl.principal.mapping.rules"
                raise InvalidConfig(f"{wrong}: Invalid rule: `{rules[position:]}`")
            position = match.end()
            self._rules.append(None if match[1] else self._rule(match[2], match[3], match[4]))

    @staticmethod
    def _rule(pattern: str, replacement: str, case: str) -> tuple[re.Pattern[str], str, str]:
        try:
            compiled = re.compile(pattern)
            python = re.sub(r"\$(\d)", r"\\g<\1>", replacement.replace("\\", ""))
            compiled.sub(python, "")  # a group that isn't there is found out now
        except (re.error, IndexError) as error:
            raise InvalidConfig(
                f"Invalid value for configuration ssl.principal.mapping.rules: RULE:{pattern}/{replacement}/: {error}"
            ) from None
        return compiled, python, case

    def name_of(self, subject: str) -> str | None:
        """The user's name for a subject such as `CN=carol,OU=shop`; None where no rule fits."""
        if len(subject) > _MAX_SUBJECT:
            return None
        for rule in self._rules:
            if rule is None:
                return subject
            pattern, replacement, case = rule
            if pattern.search(subject):
                name = pattern.sub(replacement, subject)
                return name.lower() if case == "L" else name.upper() if case == "U" else name
        return None


@lru_cache(maxsize=16)
def mapper(rules: str) -> PrincipalMapper:
    """The same one for the same rules."""
    return PrincipalMapper(rules)
