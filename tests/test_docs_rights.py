"""The rights that docs/security.md grants are those that `check` asks for (tests/e2e/test_least_privilege.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from replicator.cli.main import app
from tests.support.documents import shell_lines
from tests.support.granting import PRINCIPAL, Cluster, commit, create_acls, granted_by, guarded, make
from tests.support.replicator import Installation

pytestmark = [pytest.mark.slow]

PAGE = "docs/security.md"
LINK = {"name": "us-to-eu", "source": "us", "target": "eu", "sync": {"heartbeats": True, "checkpoints": True}}
LINES = {"source": 4, "target": 8}
UNSEEN = {("target", 2), ("target", 7)}  # covered by the one for all groups; what mayn't be described isn't there


@pytest.fixture
def clusters() -> Iterator[tuple[Cluster, Cluster]]:
    """With a topic, a group, and the ledger of somebody else's link."""
    with guarded("docs-source") as source, guarded("docs-target") as target:
        make(source, "orders")
        commit(source, "readers", "orders")
        make(target, "__replicator_other_ledger")
        yield source, target


def missing(clusters: tuple[Cluster, Cluster], directory: Path, leave_out: tuple[str, int] | None = None) -> list[str]:
    """What `check` finds missing once the page's commands, but for one, have been run."""
    for side, cluster in zip(LINES, clusters, strict=True):
        commands = shell_lines(PAGE, f"sh {side}")
        assert len(commands) == LINES[side]
        kept = [words for number, words in enumerate(commands) if (side, number) != leave_out]
        for words in kept:
            command = " ".join(f"'{word}'" for word in words)
            create_acls(cluster, granted_by(command.replace("User:replicator", PRINCIPAL)))
    installation = Installation(directory, dict(zip(("us", "eu"), clusters, strict=True)), [LINK])
    done = CliRunner().invoke(app, ["check", "-c", str(installation.file), "-o", "json"])
    findings: list[dict[str, Any]] = json.loads(done.stdout)["findings"]
    return [str(finding) for finding in findings if finding["level"] != "ok"]


def test_given_the_rights_of_the_page_when_check_looks_for_others_then_none_is_missing(
    clusters: tuple[Cluster, Cluster], tmp_path: Path
) -> None:
    assert missing(clusters, tmp_path) == []


@pytest.mark.soak
@pytest.mark.parametrize("line", sorted({(side, n) for side, count in LINES.items() for n in range(count)} - UNSEEN))
def test_given_one_command_less_when_check_looks_then_something_is_missing(
    clusters: tuple[Cluster, Cluster], tmp_path: Path, line: tuple[str, int]
) -> None:
    assert missing(clusters, tmp_path, line) != []
