"""`replicator-broker run` as a process, and its control endpoint."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from broker.cli import app
from broker.control import serve_control
from tests.broker.calls import running
from tests.support.ports import free_ports
from tests.support.rawclient import RawClient, batch


@contextmanager
def started(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """The process and the line it prints."""
    command = [sys.executable, "-m", "broker.cli", "run", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def post(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    data = json.dumps(body or {}).encode()
    request = urllib.request.Request(f"http://{address}{path}", data=data, method="POST")
    with urllib.request.urlopen(request, timeout=5) as answer:
        return json.loads(answer.read())


def test_given_a_data_directory_when_killed_and_started_again_then_nothing_acknowledged_is_lost(tmp_path: Path) -> None:
    arguments = ("--listen", "127.0.0.1:0", "--data", str(tmp_path))
    row = [{"name": "t", "partition_data": [{"index": 0, "records": batch([b"kept"])}]}]
    produce = {"acks": -1, "timeout": 1000, "transactional_id": None, "topic_data": row}
    with started(*arguments) as (process, address), RawClient(address) as client:
        client.call("metadata", 12, topics=[{"name": "t"}], allow_auto_topic_creation=True)
        assert client.call("produce", 9, **produce).responses[0].partition_responses[0].base_offset == 0
        process.send_signal(signal.SIGKILL)
    with started(*arguments) as (process, address):
        with RawClient(address) as client:
            assert client.call("produce", 9, **produce).responses[0].partition_responses[0].base_offset == 1
        process.send_signal(signal.SIGTERM)
        assert process.wait(5) == 0
        assert process.stderr is not None
        assert process.stderr.read() == ""


def test_given_a_control_endpoint_when_asked_then_nodes_and_faults_obey() -> None:
    [port] = free_ports(1)
    address = f"127.0.0.1:{port}"
    with started("--listen", "127.0.0.1:0", "--nodes", "2", "--control", address) as (_, bootstrap):
        assert len(bootstrap.split(",")) == 2
        assert post(address, "/nodes/1/stop") == {"node": 1, "state": "stopped"}
        with RawClient(bootstrap) as client:
            assert [broker.node_id for broker in client.call("metadata", 1, topics=None).brokers] == [0]
            post(address, "/nodes/1/start")
            assert len(client.call("metadata", 1, topics=None).brokers) == 2
            post(address, "/faults", {"action": "fail", "api": "DescribeCluster", "error": 7, "times": 1})
            assert client.call("describe_cluster", 0).error_code == 7
        with urllib.request.urlopen(f"http://{address}/faults", timeout=5) as answer:
            assert json.loads(answer.read())[0]["hits"] == 1
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(address, "/elect", {"topic": "t", "partition": 0, "truncate_to": 0})
        assert caught.value.code == 404
        caught.value.close()


@pytest.mark.parametrize(
    "arguments",
    [
        ("--control", "0.0.0.0:0", "--listen", "127.0.0.1:0"),
        ("--listen", "nowhere"),
        ("--config", "nope=1"),
        ("--config", "num.partitions=many"),
        ("--config", "x"),
    ],
)
def test_given_wrong_arguments_when_started_then_exit_code_two_and_a_reason(arguments: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, ["run", *arguments])
    assert done.exit_code == 2
    assert re.split("[=:]", arguments[1])[0] in done.output


async def test_given_an_address_others_can_reach_when_control_is_asked_for_then_refused() -> None:
    async with running() as cluster:
        with pytest.raises(ValueError, match="loopback"):
            async with serve_control(cluster, "0.0.0.0", 0):
                pass
