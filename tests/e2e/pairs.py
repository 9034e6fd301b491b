"""On which clusters an end-to-end test runs: a source and a target, bundled or real, always or in the long form."""

from __future__ import annotations

from typing import Any

import pytest

BUNDLED: Any = pytest.param("bundled")
KAFKA: Any = pytest.param("kafka", marks=pytest.mark.kafka)
LONG_BUNDLED: Any = pytest.param("bundled", marks=pytest.mark.soak)
LONG_KAFKA: Any = pytest.param("kafka", marks=[pytest.mark.kafka, pytest.mark.soak])
LONG_OLD: Any = pytest.param("old", marks=[pytest.mark.kafka, pytest.mark.soak])


def on(*kinds: Any) -> pytest.MarkDecorator:
    """The kinds of clusters that the fixture `pair` gives to a test."""
    return pytest.mark.parametrize("pair", kinds, indirect=True)
