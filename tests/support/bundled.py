"""The bundled broker as its own process, with the same face as `KafkaCluster`."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.kafka import PASSWORD, USERNAME, die_with_parent
from tests.support.ports import free_ports
from tests.support.waiting import wait_for

START_TIMEOUT_S = 20.0
_SUPER_USER = "admin"
_PROPERTIES = {
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.backoff.ms": "300",
    "log.retention.check.interval.ms": "500",
    "auto.create.topics.enable": "false",
}


def adjacent_ports(count: int) -> int:
    """The first of `count` adjacent loopback ports that were free a moment ago."""
    while True:
        first = free_ports(1)[0]
        try:
            for offset in range(1, count):
                _claim(first + offset)
        except OSError:
            continue
        return first


def _claim(port: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", port))


class BundledCluster:
    """`replicator-broker run` with `nodes` nodes; a context manager.

    `persistent` keeps data on disk, so that `kill` and `start_again` lose nothing. `properties` are broker settings by
    Kafka's names. `arguments` are passed on to the command as they are. With `users` (passwords by name) clients log in
    by SASL, with `mechanism`; `admin` and `client_config` do so as the first one. `authorizer` switches ACLs on, as
    with `KafkaCluster`: `USERNAME` and `PASSWORD` log in, and only who `admin` is may do everything. Node indexes count
    from 0.
    """

    kind = "bundled"

    def __init__(
        self,
        nodes: int = 1,
        *,
        properties: Mapping[str, str] | None = None,
        persistent: bool = False,
        arguments: tuple[str, ...] = (),
        users: Mapping[str, str] | None = None,
        mechanism: str = "PLAIN",
        authorizer: bool = False,
        name: str = "bundled",
    ) -> None:
        self.nodes = nodes
        self.name = name
        self._properties = {**_PROPERTIES, **(properties or {})}
        self._users = dict(users or {})
        self._mechanism = mechanism
        self._admin: dict[str, str] = {}
        self._arguments = arguments
        if authorizer:
            self._users |= {USERNAME: PASSWORD, _SUPER_USER: PASSWORD}
            self._admin = {"sasl.username": _SUPER_USER, "sasl.password": PASSWORD}
            self._properties["super.users"] = f"User:{_SUPER_USER}"
            self._arguments += ("--authorizer", "acl")
        self._persistent = persistent
        self._directory = Path(tempfile.mkdtemp(prefix=f"replicator-{name}-"))
        self._port = adjacent_ports(nodes)
        self._control = free_ports(1)[0]
        self._process: subprocess.Popen[bytes] | None = None

    # ---- how to reach it -------------------------------------------------------------------------------------------

    @property
    def bootstrap(self) -> str:
        """`host:port,…` of all nodes."""
        return ",".join(f"127.0.0.1:{self._port + node}" for node in range(self.nodes))

    @property
    def internal(self) -> str:
        """The same; real Kafka has a second listener."""
        return self.bootstrap

    @property
    def security(self) -> dict[str, str]:
        """`clusters.<name>.security` of Replicator's YAML."""
        for user, password in self._users.items():
            return {"protocol": "SASL_PLAINTEXT", "mechanism": self._mechanism, "username": user, "password": password}
        return {"protocol": "PLAINTEXT"}

    @property
    def client_config(self) -> dict[str, str]:
        """librdkafka's settings for this cluster."""
        config = {"bootstrap.servers": self.bootstrap, "log_level": "0"}
        if self._users:
            user, password = next(iter(self._users.items()))
            config |= {"security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": self._mechanism}
            config |= {"sasl.username": user, "sasl.password": password}
        return config

    @property
    def control_url(self) -> str:
        """The process's control endpoint."""
        return f"http://127.0.0.1:{self._control}"

    # ---- life ------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Start the process; return when it serves."""
        command = [sys.executable, "-m", "broker.cli", "run", "--listen", f"127.0.0.1:{self._port}"]
        command += ["--nodes", str(self.nodes), "--control", f"127.0.0.1:{self._control}"]
        for key, value in self._properties.items():
            command += ["--config", f"{key}={value}"]
        if self._users:
            command += ["--sasl", self._mechanism]
        for user, password in self._users.items():
            command += ["--user", f"{user}:{password}"]
        if self._persistent:
            command += ["--data", str(self._directory / "data")]
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=dict(os.environ),
                preexec_fn=die_with_parent if threading.current_thread() is threading.main_thread() else None,
            )
        try:
            self._wait_until_serving()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Kill the process and remove its data."""
        self.kill()
        shutil.rmtree(self._directory, ignore_errors=True)

    def kill(self) -> None:
        """kill -9 the process with all its nodes; `start_again` brings it back."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.wait(timeout=20)

    start_again = start

    def change_password(self, user: str, password: str) -> None:
        """Start anew with another password; needs `persistent`."""
        self._users[user] = password
        self.kill()
        self.start_again()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def segment(self, topic: str, partition: int) -> Path:
        """The newest log segment of a partition; for clusters of one node that are `persistent`."""
        (newest,) = sorted((self._directory / "data").rglob(f"{topic}-{partition}/*.log"))[-1:]
        return newest

    def kill_node(self, node: int) -> None:
        """The node's listener closes, its connections are cut, its leaders move."""
        self.control("POST", f"/nodes/{self._node_ids()[node]}/stop")

    def start_node(self, node: int) -> None:
        """Bring a stopped node back."""
        self.control("POST", f"/nodes/{self._node_ids()[node]}/start")

    def freeze(self, node: int) -> None:
        """Connections stay open and nothing answers."""
        self.control("POST", f"/nodes/{self._node_ids()[node]}/freeze")

    def thaw(self, node: int) -> None:
        """The opposite."""
        self.control("POST", f"/nodes/{self._node_ids()[node]}/thaw")

    def fault(self, action: str, api: str, **where: object) -> None:
        """Make an API fail: `action` is fail (with `error`, a number), delay (with `seconds`), drop or drop_response.

        `where`: topic, node (its id), client_id; `times`, once if left out.
        """
        self.control("POST", "/faults", {"action": action, "api": api, **where})

    def faults_hit(self) -> dict[str, int]:
        """How often each fault set so far has struck, by `api action`; they must have, or the test shows nothing."""
        hits: dict[str, int] = {}
        for fault in self.control("GET", "/faults"):
            name = f"{fault['api']} {fault['action']}"
            hits[name] = hits.get(name, 0) + int(fault["hits"])
        return hits

    def clear_faults(self) -> None:
        """Remove them all."""
        self.control("DELETE", "/faults")

    def elect_unclean(self, topic: str, partition: int, truncate_to: int) -> None:
        """An unclean election that cuts the log: records from `truncate_to` on are lost."""
        self.control("POST", "/elect", {"topic": topic, "partition": partition, "truncate_to": truncate_to})

    def control(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """One call to the control endpoint; its JSON answer."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.control_url + path, data=data, method=method, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as response:
            text = response.read()
        return json.loads(text) if text else None

    def _node_ids(self) -> list[int]:
        return sorted(int(node["id"]) for node in self.control("GET", "/cluster")["nodes"])

    def admin(self) -> AdminClient:
        """A fresh AdminClient; with `authorizer` it is allowed everything."""
        return AdminClient(self.client_config | self._admin)

    def log(self, node: int = 0) -> str:
        """What the process has printed."""
        path = self._directory / "log"
        return path.read_text(errors="replace") if path.exists() else ""

    def _wait_until_serving(self) -> None:
        admin = self.admin()

        def serving() -> bool:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError(f"{self.name} ended:\n{self.log()[-3000:]}")
            try:
                return len(admin.list_topics(timeout=1).brokers) == self.nodes
            except KafkaException:
                return False

        wait_for(serving, within=START_TIMEOUT_S, what=f"{self.name} serves")
