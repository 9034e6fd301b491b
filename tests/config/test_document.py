"""docs/configuration.md is what the models say now, and says it of every key."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from replicator.config import models, telemetry
from replicator.config.document import SECTIONS, descriptions, document

PAGE = Path(__file__).parent.parent.parent / "docs" / "configuration.md"


def test_given_the_models_when_the_page_is_written_again_then_it_is_the_one_in_docs() -> None:
    assert document() == PAGE.read_text(), "python -m replicator.config.document > docs/configuration.md"


def test_given_the_models_when_they_are_counted_then_each_has_a_section() -> None:
    all_models = {
        found
        for module in (models, telemetry)
        for found in vars(module).values()
        if isinstance(found, type) and issubclass(found, BaseModel) and found.__module__ == module.__name__
    }
    assert {model for _, model in SECTIONS} == all_models - {models.Settings}


@pytest.mark.parametrize(
    "line",
    [
        "| `lanes` | number, 1 to 1024 | `32` | Units of work",
        "| `replication_factor` | number, 1 to 32 |  | Of topics",
        "| `memory_bytes` | size, 16 MiB or more | `256 MiB` | What",
        "| `start` | `earliest`, `latest`, time | `earliest` | Where",
        "| `password` | secret |  | ",
        "| `security` | keys | | Below: [`clusters.ALIAS.security`](#clustersaliassecurity). |",
    ],
)
def test_given_a_key_when_the_page_is_read_then_type_bounds_and_default_are_there(line: str) -> None:
    assert f"\n{line}" in document()


def test_given_a_key_without_a_text_when_the_page_is_written_then_it_is_refused() -> None:
    class Silent(BaseModel):
        said: int = 1
        """Something."""
        unsaid: int = 2

    with pytest.raises(LookupError, match=r"Silent\.unsaid"):
        descriptions(Silent)
