"""docs/metrics.md is what the catalogue says."""

from __future__ import annotations

from pathlib import Path

from replicator.sync.plan import Why
from replicator.telemetry.catalogue import CATALOGUE, PROCESS
from replicator.telemetry.document import document, shown

FILE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_given_the_catalogue_then_the_document_in_the_repository_is_made_from_it() -> None:
    assert FILE.read_text() == document(), "run: python -m replicator.telemetry.document > docs/metrics.md"


def test_given_the_document_then_every_metric_and_every_word_of_the_syncers_is_in_it() -> None:
    text = document()
    assert [m.name for m in (*CATALOGUE, *PROCESS) if f"| `{shown(m)}` |" not in text] == []
    assert [why for why in Why if f"`{why.value}`" not in text] == []
