"""`replicator translate` as a user meets it. The ledger is a stub; `test_offset_map_reader.py` reads a real one."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from replicator.cli import translate as module
from replicator.cli.main import app
from replicator.errors import ConfigurationError
from replicator.ledger.entry import Entry, Gap
from replicator.ledger.map_chunks import Runs, Stretch
from replicator.ledger.offset_map import OffsetMap
from replicator.states import Reason
from replicator.views import translation
from tests.ledger.test_entry import ENTRY

CONFIG = """\
clusters:
  us: {bootstrap_servers: "127.0.0.1:1"}
  eu: {bootstrap_servers: "127.0.0.1:2"}
  ap: {bootstrap_servers: "127.0.0.1:3"}
links:
  - {name: us-to-eu, source: us, target: eu, topics: {include: ["orders.*", "empty", "old"]}}
  - {name: us-to-ap, source: us, target: ap, topics: {include: ["orders"], naming: identical}}
"""

STRETCHES = (Stretch(100, 10, 50, 4, 6), Stretch(200, 80, 100), Stretch(301, 180, 19))
STORED = replace(ENTRY, topic="orders", partition=3, target_topic="us.orders", source_next=325, target_next=200)
NOTHING = replace(ENTRY, topic="empty", partition=0, target_topic="us.empty", source_next=0, target_next=-1)
UNMAPPED = replace(ENTRY, topic="old", partition=0, target_topic="us.old", source_next=50, target_next=40)
GAP = Gap(Reason.SOURCE_TRUNCATED, 90, 100, 0, 0, 0, "ops")
ADOPTED = replace(
    STORED, topic="orders-adopted", gaps=(Gap(Reason.FOREIGN_WRITER, 100, 100, 10, 10, 0, "run --adopt"),)
)
BEHIND_GAP = replace(STORED, topic="orders-cut", gaps=(GAP,))
LEDGERS: dict[str, list[Entry]] = {
    "us-to-eu": [STORED, NOTHING, UNMAPPED, BEHIND_GAP, ADOPTED],
    "us-to-ap": [replace(STORED, target_topic="orders")],
}


class Stub:
    """A `MapReader` that has read already."""

    def __init__(self, _: dict[str, Any], link: str, *, cluster: str) -> None:
        self.entries = {(entry.topic, entry.partition): entry for entry in LEDGERS[link]}
        assert cluster == link.removeprefix("us-to-")

    def load(self, topic: str, partition: int) -> tuple[Entry, OffsetMap] | None:
        entry = self.entries.get((topic, partition))
        if entry is None:
            return None
        runs = Runs()
        for stretch in STRETCHES if topic.startswith("orders") else ():
            runs.append(stretch)
        known = OffsetMap()
        known.take_runs(runs)
        return entry, known

    def close(self) -> None:
        pass


Run = Callable[..., Any]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    path = tmp_path / "replicator.yaml"
    path.write_text(CONFIG)
    monkeypatch.setattr(translation, "MapReader", Stub)
    return lambda *arguments: CliRunner().invoke(app, ["translate", *arguments, "-c", str(path)])


def first(run: Run, *arguments: str) -> dict[str, Any]:
    """The answer of link us-to-eu."""
    result = run(*arguments, "--link", "us-to-eu", "-o", "json")
    assert result.exit_code == 0, result.output
    found: dict[str, Any] = json.loads(result.stdout)["links"][0]
    return found


def test_given_a_copied_offset_when_translated_then_json_says_where_it_is_on_both_sides(run: Run) -> None:
    assert first(run, "orders:3:250") == {
        "link": "us-to-eu",
        "from": {"cluster": "us", "topic": "orders", "partition": 3, "offset": 250},
        "to": {"cluster": "eu", "topic": "us.orders", "partition": 3, "offset": 130},
        "exact": True,
        "error_bound": 0,
        "where": "copied",
    }
    assert first(run, "us.orders:3:130", "--reverse") == {
        "link": "us-to-eu",
        "from": {"cluster": "eu", "topic": "us.orders", "partition": 3, "offset": 130},
        "to": {"cluster": "us", "topic": "orders", "partition": 3, "offset": 250},
        "exact": True,
        "error_bound": 0,
        "where": "copied",
    }


@pytest.mark.parametrize(
    ("position", "reverse", "offset", "where", "bound"),
    [
        ("orders:3:0", False, 10, "before", 0),
        ("orders:3:300", False, 180, "copied", 0),  # in a gap
        ("orders:3:120", False, 26, "copied", 10),  # thinned
        ("orders:3:322", False, 200, "beyond", 0),
        ("orders:3:9223372036854775807", False, 200, "beyond", 0),
        ("us.orders:3:0", True, 100, "before", 0),
        ("us.orders:3:70", True, 200, "copied", 0),
        ("us.orders:3:20", True, 104, "copied", 10),
        ("us.orders:3:199", True, 325, "beyond", 0),
    ],
)
def test_given_any_position_when_translated_then_offset_bound_and_place_are_told(
    run: Run, position: str, reverse: bool, offset: int, where: str, bound: int
) -> None:
    found = first(run, position, *(["--reverse"] if reverse else []))
    assert (found["to"]["offset"], found["where"], found["error_bound"]) == (offset, where, bound)
    assert found["exact"] == (bound == 0)


def test_given_several_links_when_translated_then_all_that_copy_the_topic_answer(run: Run) -> None:
    lines = run("orders:3:250").stdout.splitlines()
    assert lines == [
        "us-to-eu: us orders:3:250 -> eu us.orders:3:130  exact",
        "us-to-ap: us orders:3:250 -> ap orders:3:130  exact",
    ]
    assert [item["link"] for item in json.loads(run("us.orders:3:1", "--reverse", "-o", "json").stdout)["links"]] == [
        "us-to-eu"
    ]
    assert "at most 10 records before" in run("orders:3:120").stdout
    assert "nothing was copied from before it" in run("orders:3:0").stdout
    assert "nothing at or after it is copied yet" in run("orders:3:400").stdout


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["orders:9:0"], "nothing is known of orders-9 of cluster us: it doesn't exist, or isn't copied yet"),
        (["payments:0:0"], "the link doesn't copy this topic"),
        (["us.orders:3:0"], "add --reverse"),
        (["orders:3:0", "--reverse", "--link", "us-to-eu"], "isn't one of its copies, which are called us.…"),
        (["empty:0:0"], "nothing of empty-0 is copied yet"),
        (["old:0:7"], "no offset map was kept of old-0"),
        (["orders-adopted:3:99"], "before source offset 100 was there before the link copied (run --adopt)"),
        (["orders-cut:3:99"], "began anew at source offset 100 and target offset 10, behind a gap (SOURCE_TRUNCATED)"),
    ],
)
def test_given_what_nobody_knows_when_translated_then_it_says_why_and_ends_with_4(
    run: Run, arguments: list[str], why: str
) -> None:
    result = run(*arguments)
    assert result.exit_code == 4, result.output
    assert why in result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    "position",
    [
        *("orders", "orders:3", ":3:4", "orders:3:-1", "orders:-1:0", "orders:x:0", "orders:100:1.5", "orders:0:"),
        *("orders:0:٣", "orders:2147483648:0", "orders:0:9223372036854775808"),
    ],
)
def test_given_no_position_when_translated_then_it_is_refused(run: Run, position: str) -> None:
    with pytest.raises(ConfigurationError):
        module.parse(position)
    result = run(position)
    assert result.exit_code == 2
    assert repr(position) in result.stderr


def test_given_a_topic_with_colons_when_parsed_then_the_last_two_parts_count() -> None:
    assert module.parse("a:b:1:2") == ("a:b", 1, 2)
