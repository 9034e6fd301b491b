"""`replicator-broker msk serve` as a program: how it starts, and what it says when it can't."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from broker.cli import app
from tests.msk.conftest import credentials_file, keys
from tests.msk.world import ROOT, client

COMMAND = [sys.executable, "-m", "broker.cli", "msk", "serve"]
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
ALL = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "kafka:*", "Resource": "*"}]}


def _fails(*arguments: str, environment: dict[str, str] | None = None) -> str:
    """What it says when it doesn't start."""
    keys = dict.fromkeys((name for name in os.environ if name.startswith("AWS_")), None)
    done = CliRunner().invoke(
        app, ["msk", "serve", *arguments], env={**keys, **(ROOT if environment is None else environment)}
    )
    assert done.exit_code == 2, done.output
    assert isinstance(done.exception, SystemExit)
    assert ROOT["AWS_SECRET_ACCESS_KEY"] not in done.output
    return done.output


def test_given_what_it_can_not_start_with_then_it_says_what_to_change(tmp_path: Path) -> None:
    here = ("--listen", "127.0.0.1:0", "--data", str(tmp_path / "data"))
    assert "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in _fails(*here, environment={})
    (tmp_path / "who.json").write_text('{"credentials": [{"access_key_id": "AKIA", "secret_access_key": 5}]}')
    said = _fails(*here, "--credentials", str(tmp_path / "who.json"))
    assert "who.json: credentials.0.secret_access_key" in said
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert "can't serve on" in _fails("--listen", f"127.0.0.1:{port}", "--data", str(tmp_path / "data"))
    (tmp_path / "data" / "state" / "clusters" / "x.json").write_text("{")
    assert "x.json can't be read" in _fails(*here)
    assert "--account" in _fails(*here, "--account", "12")
    assert "--metrics-namespace" in _fails(*here, "--metrics-namespace", "AWS/Kafka")


@pytest.mark.slow
def test_given_credentials_in_a_file_alone_then_it_serves_these_and_keeps_nothing_without_data(tmp_path: Path) -> None:
    file = credentials_file(tmp_path / "who.json", {"alice": [ALL]})
    serving = subprocess.Popen(
        [*COMMAND, "--listen", "127.0.0.1:0", "--credentials", str(file)],
        env=CLEAN | {"TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert serving.stdout is not None
    try:
        url = serving.stdout.readline().strip()
        (data,) = tmp_path.glob("local-msk-*")
        said = _fails("--listen", "127.0.0.1:0", "--data", str(data))
        assert "another control plane uses" in said
        assert client(url, keys("alice")).list_clusters_v2()["ClusterInfoList"] == []
    finally:
        serving.terminate()
        assert serving.wait(30) == 0
        serving.stdout.close()
    assert [path.name for path in tmp_path.iterdir()] == ["who.json"]
