"""RESULTS.md: what people write in it survives."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench.results_file import BEGIN, END, with_table


def test_given_notes_around_the_table_when_saved_then_only_the_table_changes() -> None:
    document = with_table("# Results\n\nnotes\n", "| old |") + "\nmore notes\n"
    saved = with_table(document, "| new |")
    assert saved == document.replace("| old |", "| new |")
    assert saved.startswith("# Results\n\nnotes\n")
    assert saved.endswith("\nmore notes\n")


def test_given_the_same_table_when_saved_twice_then_the_document_is_the_same() -> None:
    once = with_table("# Results\n", "| table |\n")
    assert with_table(once, "| table |\n") == once


def test_given_no_document_when_saved_then_it_begins_with_a_title() -> None:
    assert with_table("", "| table |") == f"# Results\n\n{BEGIN}\n\n| table |\n\n{END}\n"


@pytest.mark.parametrize("document", [BEGIN, END, f"{END}\n{BEGIN}", f"{BEGIN}{BEGIN}{END}", f"{BEGIN}{END}{END}"])
def test_given_markers_out_of_order_when_saved_then_nothing_is_guessed(document: str) -> None:
    with pytest.raises(ValueError, match="there must be one"):
        with_table(document, "| table |")


def test_given_the_document_of_this_repository_when_saved_then_it_has_its_markers() -> None:
    document = Path(bench.__file__).with_name("RESULTS.md").read_text()
    head, _, _ = document.partition(BEGIN)
    assert with_table(document, "| table |").startswith(head)
    assert head.strip() != "# Results", "its notes are gone"
