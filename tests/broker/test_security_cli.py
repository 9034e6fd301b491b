"""The security options of `replicator-broker run`."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from broker.cli import app


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--sasl", "PLAIN"], "--user"),
        (["--user", "a:b"], "--sasl"),
        (["--sasl", "GSSAPI", "--user", "a:secret-word"], "GSSAPI"),
        (["--sasl", "PLAIN", "--user", "secret-word"], "number 1"),
        (["--sasl", "PLAIN", "--user", ":secret-word"], "number 1"),
        (["--tls-key", "x.pem"], "--tls-cert"),
        (["--tls-ca", "x.pem"], "--tls-cert"),
        (["--tls-cert", "no-such-file.pem"], "can't be used"),
        (["--authorizer", "acl", "--config", "super.users=alice"], "super.users"),
        (["--authorizer", "iam"], "--authorizer"),
    ],
)
def test_given_options_that_do_not_fit_when_started_then_it_says_so_without_secrets(
    arguments: list[str], hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["run", "--listen", "127.0.0.1:0", *arguments], env={"COLUMNS": "200"})
    assert done.exit_code == 2
    assert hint in done.output
    assert "secret-word" not in done.output
