"""Conditions of statements: each operator with all of its keys and values.

Source: AWS IAM user guide, "IAM JSON policy elements: Condition operators" and "Conditions with multiple context keys".
Left out: Binary*, and ForAllValues/ForAnyValue with numbers, dates and addresses.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from broker.iam.errors import PolicyError
from broker.iam.patterns import Context, compiled, lookup, matches

Check = Callable[[str, str, Context], bool]  # value of the policy, value of the request, context

_MOST_VALUES = 200


def _like(wanted: str, found: str, context: Context) -> bool:
    tokens = compiled(wanted, context)
    return tokens is not None and matches(tokens, found)


def _equals(wanted: str, found: str, context: Context) -> bool:
    tokens = compiled(wanted.replace("*", "${*}").replace("?", "${?}") if "${" not in wanted else wanted, context)
    return tokens is not None and matches(tokens, found)


def _equals_ignoring_case(wanted: str, found: str, context: Context) -> bool:
    return _equals(wanted.lower(), found.lower(), context)


def _arn(wanted: str, found: str, context: Context) -> bool:
    """Each of the six parts by itself: a wildcard doesn't reach over a colon, but in the last part."""
    ours, theirs = wanted.split(":", 5), found.split(":", 5)
    return len(ours) == len(theirs) == 6 and all(_like(a, b, context) for a, b in zip(ours, theirs, strict=True))


def _address(wanted: str, found: str, context: Context) -> bool:
    try:
        return ipaddress.ip_address(found) in ipaddress.ip_network(wanted, strict=False)
    except ValueError:
        return False


def _numbers(compare: Callable[[float, float], bool]) -> Check:
    def check(wanted: str, found: str, context: Context) -> bool:
        try:
            return compare(float(found), float(wanted))
        except ValueError:
            return False

    return check


def _dates(compare: Callable[[float, float], bool]) -> Check:
    def check(wanted: str, found: str, context: Context) -> bool:
        try:
            return compare(_moment(found), _moment(wanted))
        except ValueError:
            return False

    return check


def _moment(text: str) -> float:
    if text.isdigit():
        return float(text)
    at = datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _boolean(wanted: str, found: str, context: Context) -> bool:
    return wanted.lower() == found.lower()


_COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "Equals": lambda a, b: a == b,
    "NotEquals": lambda a, b: a != b,
    "LessThan": lambda a, b: a < b,
    "LessThanEquals": lambda a, b: a <= b,
    "GreaterThan": lambda a, b: a > b,
    "GreaterThanEquals": lambda a, b: a >= b,
}
_CHECKS: dict[str, Check] = {
    "StringEquals": _equals,
    "StringEqualsIgnoreCase": _equals_ignoring_case,
    "StringLike": _like,
    "ArnEquals": _arn,
    "ArnLike": _arn,
    "IpAddress": _address,
    "Bool": _boolean,
    **{f"Numeric{name}": _numbers(compare) for name, compare in _COMPARISONS.items() if name != "NotEquals"},
    **{f"Date{name}": _dates(compare) for name, compare in _COMPARISONS.items() if name != "NotEquals"},
}
_NEGATED = {
    "StringNotEquals": "StringEquals",
    "StringNotEqualsIgnoreCase": "StringEqualsIgnoreCase",
    "StringNotLike": "StringLike",
    "ArnNotEquals": "ArnEquals",
    "ArnNotLike": "ArnLike",
    "NotIpAddress": "IpAddress",
    "NumericNotEquals": "NumericEquals",
    "DateNotEquals": "DateEquals",
}
_OF_SETS = ("ForAllValues:", "ForAnyValue:")


class Conditions:
    """The `Condition` block of one statement."""

    def __init__(self, block: Any, where: str) -> None:
        """PolicyError, naming `where`, for operators that don't exist and values that aren't text."""
        self._all: list[tuple[str, str, str, bool, tuple[str, ...]]] = []  # set, operator, key, if exists, values
        if not isinstance(block, Mapping):
            raise PolicyError(f"{where}: Condition must be an object")
        for name, keys in block.items():
            if not isinstance(keys, Mapping) or not keys:
                raise PolicyError(f"{where}: Condition {name} must be an object of condition keys")
            of_set = next((prefix for prefix in _OF_SETS if name.startswith(prefix)), "")
            operator = name.removeprefix(of_set)
            if_exists = operator.endswith("IfExists")
            operator = operator.removesuffix("IfExists")
            if operator not in _CHECKS and operator not in _NEGATED and operator != "Null":
                raise PolicyError(f"{where}: {name!r} isn't a condition operator that is known here")
            for key, values in keys.items():
                self._all.append(
                    (of_set, operator, key, if_exists, _texts(values, f"{where}: Condition {name}: {key}"))
                )

    def __bool__(self) -> bool:
        return bool(self._all)

    def hold(self, context: Context) -> bool:
        """Whether all of them do."""
        return all(_holds(*one, context) for one in self._all)


def _holds(of_set: str, operator: str, key: str, if_exists: bool, wanted: Sequence[str], context: Context) -> bool:
    found = lookup(context, key)
    if operator == "Null":
        return (found is None) is (wanted[0].lower() == "true")
    negated = operator in _NEGATED
    if found is None:
        return if_exists or negated or of_set == "ForAllValues:"
    check = _CHECKS[_NEGATED.get(operator, operator)]
    values = [found] if isinstance(found, str) else list(found)

    def one(value: str) -> bool:
        return any(check(want, value, context) for want in wanted) is not negated

    if of_set == "ForAnyValue:":
        return any(one(value) for value in values)
    return all(one(value) for value in values) and (bool(values) or of_set == "ForAllValues:" or negated)


def _texts(values: Any, where: str) -> tuple[str, ...]:
    listed = values if isinstance(values, list) else [values]
    texts = tuple(str(value).lower() if isinstance(value, bool) else str(value) for value in listed)
    if not listed or len(listed) > _MOST_VALUES or not all(isinstance(v, str | bool | int | float) for v in listed):
        raise PolicyError(f"{where} must be a text or a list of at most {_MOST_VALUES}")
    return texts
