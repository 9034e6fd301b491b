"""The verbs as a user meets them: what they print, where, and how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from replicator import __version__
from replicator.cli import check as check_module
from replicator.cli import status as status_module
from replicator.cli.main import app
from replicator.config.load import load
from replicator.errors import AuthenticationError, ReplicatorError, UnreachableError, WrongStateError
from replicator.examine.finding import Finding, Level

CONFIG = """\
clusters:
  us: {bootstrap_servers: "127.0.0.1:1"}
  eu: {bootstrap_servers: "127.0.0.1:2"}
links:
  - {name: us-to-eu, source: us, target: eu}
  - {name: other, source: us, target: eu}
service: {http: "127.0.0.1:0"}
"""

PARTITIONS: list[dict[str, Any]] = [
    {
        "topic": "orders",
        "partition": 0,
        "state": "COPYING",
        "reason": None,
        "since": "2026-11-21T00:00:00Z",
        "source_end": 1234,
        "source_next": 1230,
        "target_next": 1230,
        "lag": 4,
        "lag_ms": 90_000,
    },
    {
        "topic": "payments",
        "partition": 1,
        "state": "FAULTED",
        "reason": "RECORD_TOO_LARGE",
        "since": "2026-11-21T00:00:00Z",
        "source_end": 5000,
        "source_next": 7,
        "target_next": 7,
        "lag": 4993,
        "lag_ms": None,
        "detail": "offset 7 [is] large",
        "next_step": "Raise max.message.bytes.",
    },
]
STATUS = {"links": [{"name": "us-to-eu", "source": "us", "target": "eu", "workers": [1, 2], "partitions": PARTITIONS}]}

run = CliRunner().invoke


@pytest.fixture
def config(tmp_path: Path) -> str:
    path = tmp_path / "replicator.yaml"
    path.write_text(CONFIG)
    return str(path)


@pytest.fixture
def known_status(monkeypatch: pytest.MonkeyPatch) -> None:
    async def read(*_: object) -> dict[str, Any]:
        return json.loads(json.dumps(STATUS))  # type: ignore[no-any-return]

    monkeypatch.setattr(status_module, "read", read)


def test_given_the_program_then_help_names_every_verb_and_the_exit_codes() -> None:
    text = run(app, ["--help"]).stdout
    for verb in ("demo", "init", "check", "run", "status", "lag", "topics", "verify", "completion"):
        assert verb in text
    assert "2 usage or configuration" in " ".join(text.split())
    assert run(app, ["--version"]).stdout == f"replicator {__version__}\n"


def test_given_the_entry_point_then_it_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "replicator.cli.main", "status", "-c", "/no/such.yaml"],
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: /no/such.yaml: can't be read")
    assert "Traceback" not in done.stderr


def test_given_init_then_its_file_loads_and_is_not_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    assert run(app, ["init", "-c", str(path)]).exit_code == 0
    assert load(path).links[0].name == "us-to-eu"
    path.write_text("mine")
    again = run(app, ["init", "-c", str(path)])
    assert again.exit_code == 4
    assert "is there already" in again.stderr
    assert path.read_text() == "mine"
    assert run(app, ["init", "-c", str(path), "--force"]).exit_code == 0
    assert run(app, ["init", "-c", str(tmp_path / "no" / "dir.yaml")]).exit_code == 2


@pytest.mark.parametrize("verb", ["check", "run", "status", "lag", "topics", "verify"])
def test_given_a_mistake_in_the_file_then_every_verb_says_so_and_ends_with_2(verb: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(CONFIG.replace("source: us", "sauce: us", 1))
    result = run(app, [verb, "-c", str(path)])
    assert result.exit_code == 2
    assert f"error: {path}:5: links[0].source: is missing" in result.stderr
    assert f"error: {path}:5: links[0].sauce: unknown key; did you mean `source`?" in result.stderr
    assert result.stdout == ""


def test_given_a_link_that_is_not_there_then_the_nearest_is_named(config: str) -> None:
    result = run(app, ["status", "-c", config, "--link", "us-to-ue"])
    assert result.exit_code == 2
    assert "--link us-to-ue: " in result.stderr
    assert "did you mean `us-to-eu`?" in result.stderr


def test_given_an_unknown_option_then_it_ends_with_2(config: str) -> None:
    assert run(app, ["status", "-c", config, "-o", "xml"]).exit_code == 2
    assert run(app, ["status", "--nonsense"]).exit_code == 2
    assert run(app, ["nonsense"]).exit_code == 2
    assert run(app, ["run", "-c", config, "--log-level", "loud"]).exit_code == 2
    assert run(app, ["run", "-c", config, "--workers", "0"]).exit_code == 2


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnreachableError("cluster us: no answer\nsecond line"), 3),
        (AuthenticationError("cluster us: refused"), 3),
        (WrongStateError("link us-to-eu: no ledger"), 4),
        (ReplicatorError("broken"), 1),
    ],
)
def test_given_an_error_then_it_is_one_message_and_its_exit_code(
    error: ReplicatorError, code: int, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object) -> dict[str, Any]:
        raise error

    monkeypatch.setattr(status_module, "read", fail)
    result = run(app, ["status", "-c", config])
    assert result.exit_code == code
    assert result.stderr.splitlines() == [f"error: {line}" for line in str(error).splitlines()]
    assert result.stdout == ""


@pytest.mark.usefixtures("known_status")
def test_given_json_then_status_and_lag_are_the_documents_that_scripts_rely_on(config: str) -> None:
    for verb in ("status", "lag"):
        result = run(app, [verb, "-c", config, "-o", "json"])
        assert result.exit_code == 0
        assert json.loads(result.stdout) == STATUS


@pytest.mark.usefixtures("known_status")
def test_given_text_then_status_shows_states_and_what_to_do(config: str) -> None:
    text = run(app, ["status", "-c", config]).stdout
    assert "us-to-eu: us -> eu   2 workers, 2 partitions, 1 COPYING, 1 FAULTED, lag 4,997 records, 90 s behind" in text
    assert "payments-1: RECORD_TOO_LARGE" in text
    assert "offset 7 [is] large" in text
    assert "Raise max.message.bytes." in text


@pytest.mark.usefixtures("known_status")
def test_given_text_then_lag_begins_with_the_furthest_behind(config: str) -> None:
    lines = run(app, ["lag", "-c", config]).stdout.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["payments", "orders"]
    assert lines[3].split()[:5] == ["orders", "0", "4", "90", "s"]


@pytest.mark.parametrize(
    ("findings", "code"),
    [
        ([Finding(Level.OK, "cluster us", "reached")], 0),
        ([Finding(Level.WARNING, "link l", "no topic is selected", "none", "look")], 0),
        ([Finding(Level.PROBLEM, "cluster us", "Read isn't allowed", "why", "grant Read", 1)], 1),
        ([Finding(Level.PROBLEM, "a", "b", exit_code=1), Finding(Level.PROBLEM, "c", "d", exit_code=3)], 3),
    ],
)
def test_given_findings_then_check_ends_with_the_worst(
    findings: list[Finding], code: int, config: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def examine(*_: object) -> list[Finding]:
        return findings

    monkeypatch.setattr(check_module, "examine", examine)
    text = run(app, ["check", "-c", config])
    assert text.exit_code == code
    for finding in findings:
        for word in (finding.level, finding.where, finding.what, finding.why, finding.next_step):
            assert word in text.stdout
    document = run(app, ["check", "-c", config, "-o", "json"])
    assert document.exit_code == code
    told = json.loads(document.stdout)
    assert told["ok"] is (code == 0)
    assert [item["what"] for item in told["findings"] if item["where"] != "configuration"] == [f.what for f in findings]


def test_given_clusters_that_do_not_answer_then_check_names_both_and_ends_with_3(config: str) -> None:
    result = run(app, ["check", "-c", config, "--link", "us-to-eu"])
    assert result.exit_code == 3
    for words in ("cluster us", "127.0.0.1:1", "cluster eu", "127.0.0.1:2", "not examined"):
        assert words in result.stdout


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_given_a_shell_then_its_completion_script_is_printed(shell: str) -> None:
    result = run(app, ["completion", shell])
    assert result.exit_code == 0
    assert "_REPLICATOR_COMPLETE" in result.stdout


def test_given_the_script_then_the_program_answers_it() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from replicator.cli.main import main; main()"],
        env={"COMP_WORDS": "replicator sta", "COMP_CWORD": "1", "_REPLICATOR_COMPLETE": "complete_bash"},
        capture_output=True,
        text=True,
        timeout=30,
    )
    assert done.stdout.split() == ["status"]


def test_given_a_topic_regex_that_does_not_compile_then_verify_ends_with_2(config: str) -> None:
    result = run(app, ["verify", "-c", config, "--link", "us-to-eu", "--topic", "(x"])
    assert result.exit_code == 2
    assert "--topic '(x': isn't a regular expression" in result.stderr
