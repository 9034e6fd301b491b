"""docs/local-msk.md, followed to the letter: both terminals, with the AWS CLI and Kafka's own tools."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from broker.iam.store import Accounts, CredentialStore
from tests.support.documents import blocks
from tests.support.javatools import iam_auth_jar, java_command

DOCUMENT = "docs/local-msk.md"
ADDRESS = "127.0.0.1:8440"
TOOLS = {
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-console-producer.sh": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-console-consumer.sh": "org.apache.kafka.tools.consumer.ConsoleConsumer",
}


def _tools(folder: Path) -> None:
    """Kafka's tools under their own names, and ours beside them."""
    folder.mkdir()
    for name, main in TOOLS.items():
        command = " ".join(f"'{word}'" for word in java_command(main, jvm=("-Xmx128m",), more=[iam_auth_jar()]))
        path = folder / name
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    for name in ("aws", "replicator-broker"):
        (folder / name).symlink_to(Path(sys.executable).with_name(name))


@pytest.mark.kafka
@pytest.mark.slow
def test_given_the_page_when_its_commands_are_run_in_two_terminals_then_all_succeed(tmp_path: Path) -> None:
    _tools(tmp_path / "bin")
    first, *others = blocks(DOCUMENT, "bash")
    assert len(others) == 3
    home = {name: str(tmp_path / "none") for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")}
    environment = {**os.environ, **home, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "AWS_REGION": "us-east-1"}
    serving = subprocess.Popen(
        [
            "bash",
            "-euc",
            first.replace(ADDRESS, "127.0.0.1:0").replace("\nreplicator-broker", "\nexec replicator-broker"),
        ],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert serving.stdout is not None
    try:
        url = serving.stdout.readline().strip()
        script = "\n".join(others).replace(f"http://{ADDRESS}", url)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=110,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        assert "Created topic MyTopic." in done.stdout
        assert "\nhello\n" in done.stdout
    finally:
        serving.terminate()
        assert serving.wait(30) == 0
        serving.stdout.close()


def test_given_the_page_when_its_credentials_file_is_read_then_it_is_one(tmp_path: Path) -> None:
    (text,) = blocks(DOCUMENT, "json")
    assert json.loads(text)["account"] == Accounts().account
    file = tmp_path / "credentials.json"
    file.write_text(text)
    store = CredentialStore(file)
    assert store.find("AKIALOCALALICE") is not None
    assert len(store.policies_of("arn:aws:iam::123456789012:user/alice")) == 1
