"""Open monitoring of a broker as a program: by an option, and by a key of the cluster file."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.ports import free_ports


@contextmanager
def broker(*arguments: str) -> Iterator[str]:
    """A running process; gives the line that it prints when it is ready."""
    command = [sys.executable, "-m", "broker.cli", "run", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline()
        finally:
            process.terminate()
            process.wait(timeout=20)


def metrics(address: str, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://{address}{path}", timeout=10) as answer:
        return str(answer.read().decode())


def test_given_the_option_then_each_node_is_at_the_next_port() -> None:
    port = next(p for p in free_ports(20) if p < 65_000)
    with broker("--listen", "127.0.0.1:0", "--nodes", "2", "--metrics", f"127.0.0.1:{port}") as line:
        assert line.count(",") == 1
        texts = [metrics(f"127.0.0.1:{port + node}") for node in (0, 1)]
    name = 'kafka_controller_KafkaController_Value{name="ActiveControllerCount"}'
    assert [f"{name} 1.0" in text for text in texts] == [True, False]


def test_given_the_key_of_a_cluster_file_then_both_exporters_of_each_node_are_there(tmp_path: Path) -> None:
    nodes = [{"id": 1, "host": "127.0.0.1"}, {"id": 2, "host": "127.0.0.1"}]
    content = {"nodes": nodes, "listeners": [{"name": "CLIENT"}], "metrics": {"jmx_port": 0, "node_port": 0}}
    file = tmp_path / "cluster.json"
    file.write_text(json.dumps(content))
    with broker("--file", str(file)) as line:
        places = json.loads(line)["metrics"]
        assert sorted(places) == ["1", "2"]
        assert 'kafka_server_KafkaServer_Value{name="BrokerState"} 3.0' in metrics(places["2"])
        assert "node_filesystem_size_bytes" in metrics(places["2"], "/node/metrics")


def test_given_a_running_cluster_then_open_monitoring_can_be_switched_on_and_off(tmp_path: Path) -> None:
    content = {"nodes": [{"id": 1}], "listeners": [{"name": "CLIENT"}], "control": "127.0.0.1:0"}
    file = tmp_path / "cluster.json"
    file.write_text(json.dumps(content))
    port = free_ports(1)[0]

    def reload(**more: object) -> None:
        file.write_text(json.dumps(content | more))
        with urllib.request.urlopen(urllib.request.Request(f"http://{control}/reload", method="POST"), timeout=10):
            pass

    with broker("--file", str(file)) as line:
        control = json.loads(line)["control"]
        assert "metrics" not in json.loads(line)
        reload(metrics={"jmx_port": port, "node_port": None})
        assert "BrokerState" in metrics(f"127.0.0.1:{port}")
        reload()
        with pytest.raises(OSError):
            metrics(f"127.0.0.1:{port}")
        with socket.create_server(("127.0.0.1", port)):
            with pytest.raises(urllib.error.HTTPError) as refusal:
                reload(metrics={"jmx_port": port, "node_port": None})
            with refusal.value as answer:
                assert "can't listen" in json.loads(answer.read())["error"]
