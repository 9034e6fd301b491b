"""docs/walk-through.md, followed to the letter, and again with the tools of Kafka 2.8.1 and 3.6.0 as published."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.documents import blocks
from tests.support.javatools import iam_auth_jar, java_command

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.timeout(300)]

DOCUMENT = "docs/walk-through.md"
ADDRESS = "127.0.0.1:8440"
REACH_S = 60.0
WITHIN_S = 240.0  # tests share their machine
NEWER = {
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-console-producer.sh": "org.apache.kafka.tools.ConsoleProducer",
    "kafka-console-consumer.sh": "org.apache.kafka.tools.consumer.ConsoleConsumer",
}
OLDER = {
    "kafka-topics.sh": "kafka.admin.TopicCommand",
    "kafka-console-producer.sh": "kafka.tools.ConsoleProducer",
    "kafka-console-consumer.sh": "kafka.tools.ConsoleConsumer",
}
TOOLS = {"4.1.1": NEWER, "3.6.0": OLDER, "2.8.1": OLDER}


def _tools(folder: Path, version: str) -> None:
    """Kafka's tools of that version under their own names, and ours beside them."""
    folder.mkdir()
    for name, main in TOOLS[version].items():
        java = java_command(main, jvm=("-Xmx128m",), version=version, more=[iam_auth_jar()])
        path = folder / name
        path.write_text("#!/bin/sh\nexec " + " ".join(f"'{word}'" for word in java) + ' "$@"\n')
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    for name in ("aws", "replicator-broker"):
        (folder / name).symlink_to(Path(sys.executable).with_name(name))


def _again(version: str, number: int) -> str:
    """Producing and consuming once more, with the tools of another version."""
    _, _, _, _, _, produce, consume, _ = blocks(DOCUMENT, "bash")
    older = produce.replace(
        '--bootstrap-server "$BROKERS" --producer.config', '--broker-list "$BROKERS" --producer.config'
    )
    assert older != produce
    script = f'export PATH="{{bin-{version}}}:$PATH"\n{older}{consume}'
    return script.replace("my-topic", f"my-topic-{number}").replace("hello from", f"hello by {version} from")


def test_given_the_page_when_it_is_followed_then_the_record_has_crossed_also_with_older_tools(tmp_path: Path) -> None:
    for version in TOOLS:
        _tools(tmp_path / f"bin-{version}", version)
    serve, *others = blocks(DOCUMENT, "bash")
    assert len(others) == 7
    end = others.pop()
    home = {name: str(tmp_path / "none") for name in ("AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE")}
    environment = {**os.environ, **home, "PATH": f"{tmp_path / 'bin-4.1.1'}:{os.environ['PATH']}"}
    began = time.monotonic()
    serving = subprocess.Popen(
        [
            "bash",
            "-euc",
            serve.replace(ADDRESS, "127.0.0.1:0").replace("\nreplicator-broker", "\nexec replicator-broker"),
        ],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert serving.stdout is not None
    try:
        url = serving.stdout.readline().strip()
        parts = [*others, "date +crossed:%s.%N\n", _again("3.6.0", 36), _again("2.8.1", 28), end]
        script = "\n".join(parts).replace(f"http://{ADDRESS}", url)
        for version in TOOLS:
            script = script.replace(f"{{bin-{version}}}", str(tmp_path / f"bin-{version}"))
        wall = time.time() - (time.monotonic() - began)
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]
        for words in ("hello from us-east-1", "hello by 3.6.0 from us-east-1", "hello by 2.8.1 from us-east-1"):
            assert words in done.stdout.splitlines()
        crossed = next(line for line in done.stdout.splitlines() if line.startswith("crossed:"))
        took = float(crossed.removeprefix("crossed:")) - wall
        print(f"from nothing to the consumed record: {took:.1f} s; the reach is {REACH_S:g} s")
        assert '"ReplicatorState": "DELETING"' in done.stdout
    finally:
        serving.terminate()
        assert serving.wait(30) == 0
        serving.stdout.close()
