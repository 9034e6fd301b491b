"""The reader of expressions sees what is there."""

from __future__ import annotations

import pytest

from tests.dashboards.promql import parse


def test_given_an_expression_then_its_metrics_matchers_and_groupings_are_found() -> None:
    found = parse('sum by (link, le) (rate(a_bucket{x="1",y!~"b|c"}[5m])) / 2 > 0 and on (job) c:d:e')
    assert [(s.name, s.matchers) for s in found.selectors] == [
        ("a_bucket", [("x", "=", "1"), ("y", "!~", "b|c")]),
        ("c:d:e", []),
    ]
    assert [(word, labels, [s.name for s in scope]) for word, labels, scope in found.grouped] == [
        ("by", ["link", "le"], ["a_bucket"]),
        ("on", ["job"], ["a_bucket"]),
    ]
    assert found.result == ["link", "le"]


@pytest.mark.parametrize("text", ["sum(a) by (b)", 'a{b="c"', "sum by (a) (b", "sum without (a) (b)", "a ? b"])
def test_given_what_is_not_understood_then_it_says_so(text: str) -> None:
    with pytest.raises(ValueError):
        parse(text)
