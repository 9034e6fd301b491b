"""What `replicator run` does before any worker looks at copies that the ledger doesn't know."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from replicator.cli.main import app
from replicator.errors import WrongStateError

CONFIG = """\
clusters:
  us: {bootstrap_servers: "127.0.0.1:1"}
  eu: {bootstrap_servers: "127.0.0.1:2"}
links:
  - {name: l, source: us, target: eu, topics: {include: ["orders"]}}
"""


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    made: list[str] = []

    async def prepare(_settings: Any, links: Sequence[Any], *, from_scratch: bool) -> None:
        made.append(f"prepare {[link.name for link in links]} {from_scratch}")

    async def work(*_: Any, **__: Any) -> None:
        made.append("work")

    monkeypatch.setattr("replicator.dr.adopt_links.prepare_links", prepare)
    monkeypatch.setattr("replicator.worker.service.run_worker", work)
    return made


@pytest.mark.parametrize(
    ("switches", "expected"),
    [
        ([], ["work"]),
        (["--adopt"], ["prepare ['l'] False", "work"]),
        (["--from-scratch"], ["prepare ['l'] True", "work"]),
    ],
)
def test_given_a_switch_then_copies_are_dealt_with_before_the_work_begins(
    calls: list[str], tmp_path: Path, switches: list[str], expected: list[str]
) -> None:
    (tmp_path / "r.yaml").write_text(CONFIG)
    result = CliRunner().invoke(app, ["run", "-c", str(tmp_path / "r.yaml"), *switches])
    assert result.exit_code == 0, result.output
    assert calls == expected


def test_given_both_switches_then_it_is_refused(calls: list[str], tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(CONFIG)
    result = CliRunner().invoke(app, ["run", "-c", str(tmp_path / "r.yaml"), "--adopt", "--from-scratch"])
    assert result.exit_code == 2
    assert calls == []


def test_given_copies_that_cannot_be_dealt_with_then_no_work_begins(
    calls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def refuse(*_: Any, **__: Any) -> None:
        raise WrongStateError("somebody writes to us.orders-0")

    monkeypatch.setattr("replicator.dr.adopt_links.prepare_links", refuse)
    (tmp_path / "r.yaml").write_text(CONFIG)
    result = CliRunner().invoke(app, ["run", "-c", str(tmp_path / "r.yaml"), "--adopt"])
    assert isinstance(result.exception, WrongStateError) or result.exit_code == 4
    assert calls == []
