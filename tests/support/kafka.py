"""Real Apache Kafka on loopback: KRaft nodes, each broker and controller in one, started from Maven's jars."""

from __future__ import annotations

import base64
import ctypes
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from tests.support.certificates import CertificateAuthority
from tests.support.javatools import KAFKA_VERSION, java_command
from tests.support.ports import free_ports
from tests.support.proxy import Proxy
from tests.support.waiting import wait_for

Security = Literal["scram_tls", "plain"]
USERNAME = "replicator"
PASSWORD = "not-a-secret-42"
START_TIMEOUT_S = 45.0

# Small, and quick to notice what a test does to it.
_PROPERTIES = {
    "offsets.topic.num.partitions": "4",
    "transaction.state.log.num.partitions": "4",
    "group.initial.rebalance.delay.ms": "0",
    "group.consumer.min.heartbeat.interval.ms": "300",
    "group.consumer.heartbeat.interval.ms": "300",
    "group.consumer.min.session.timeout.ms": "1000",
    "auto.create.topics.enable": "false",
    "num.network.threads": "2",
    "num.io.threads": "4",
    "log.cleaner.backoff.ms": "300",
    "log.cleaner.dedupe.buffer.size": "4194304",
    "log.retention.check.interval.ms": "500",
    "log.initial.task.delay.ms": "500",
    "broker.heartbeat.interval.ms": "500",
    "broker.session.timeout.ms": "3000",
    "controller.quorum.election.timeout.ms": "500",
    "controller.quorum.fetch.timeout.ms": "1000",
}


def die_with_parent() -> None:
    """In a child before exec: be killed when the test process is (Linux; elsewhere `stop` has to do)."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    except (OSError, AttributeError):
        return


class NodeEndedError(RuntimeError):
    """A node ended by itself; the message is the end of its log."""


class KafkaCluster:
    """A cluster of `nodes` real Kafka nodes; a context manager.

    `security`: None is PLAINTEXT, "plain" is SASL_PLAINTEXT with PLAIN, "scram_tls" is SASL_SSL with SCRAM; in both
    `USERNAME` and `PASSWORD` log in. `properties` overrides broker settings. `authorizer` switches ACLs on: then only
    the inter-broker listener, which `internal` names, may do everything. `version` is any with KRaft, 3.3 or newer.
    `controllers`: only the first so many nodes are controllers too. `proxied`: clients reach each node through one of
    `proxies`. Node indexes count from 0; node ids from 1.
    """

    kind = "kafka"

    def __init__(
        self,
        nodes: int = 1,
        *,
        security: Security | None = None,
        properties: Mapping[str, str] | None = None,
        authorizer: bool = False,
        name: str = "kafka",
        version: str = KAFKA_VERSION,
        controllers: int | None = None,
        proxied: bool = False,
    ) -> None:
        self.nodes = nodes
        self.proxies: list[Proxy] = []
        self.version = version
        self.name = name
        self._security = security
        self._properties = dict(properties or {})
        self._authorizer = authorizer
        self._controllers = nodes if controllers is None else controllers
        self._proxied = proxied
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._frozen: set[int] = set()
        self._directory = Path(tempfile.mkdtemp(prefix=f"replicator-{name}-"))
        self._cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        self._choose_ports()
        self.ca_file: Path | None = None

    # ---- how to reach it -------------------------------------------------------------------------------------------

    @property
    def bootstrap(self) -> str:
        """`host:port,…` of all nodes."""
        return ",".join(f"127.0.0.1:{port}" for port in self._ports)

    @property
    def internal(self) -> str:
        """Bootstrap addresses of the inter-broker listener: PLAINTEXT, and a super user there, whatever `security`."""
        return ",".join(f"127.0.0.1:{port}" for port in self._internal_ports)

    @property
    def security(self) -> dict[str, str]:
        """`clusters.<name>.security` of Replicator's YAML."""
        if self._security is None:
            return {"protocol": "PLAINTEXT"}
        login = {"username": USERNAME, "password": PASSWORD}
        if self._security == "plain":
            return {"protocol": "SASL_PLAINTEXT", "mechanism": "PLAIN", **login}
        return {"protocol": "SASL_SSL", "mechanism": "SCRAM-SHA-512", **login, "ca_file": str(self.ca_file)}

    @property
    def client_config(self) -> dict[str, str]:
        """librdkafka's settings for this cluster."""
        names = {
            "protocol": "security.protocol",
            "mechanism": "sasl.mechanism",
            "username": "sasl.username",
            "password": "sasl.password",
            "ca_file": "ssl.ca.location",
        }
        config = {"bootstrap.servers": self.bootstrap, "log_level": "0"}
        return config | {names[key]: value for key, value in self.security.items()}

    # ---- life ------------------------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Format and start all nodes; return when all of them serve."""
        if self._security == "scram_tls":
            authority = CertificateAuthority(self._directory / "tls")
            self.ca_file = authority.certificate
            authority.issue("server")
        try:
            self._start_all()
        except NodeEndedError:  # somebody else may have taken one of its ports in between: once more, with others
            self._kill_all()
            for data in self._directory.glob("data*"):
                shutil.rmtree(data)
            self._choose_ports()
            try:
                self._start_all()
            except BaseException:
                self.stop()
                raise
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self) -> None:
        """Kill every node and remove its data."""
        self._kill_all()
        self._end_proxies()
        shutil.rmtree(self._directory, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def kill_node(self, node: int) -> None:
        """kill -9; its data stays."""
        process = self._processes.pop(node)
        self._frozen.discard(node)
        process.kill()
        process.wait(timeout=20)

    def start_node(self, node: int) -> None:
        """Start a node that was killed; returns when all running nodes serve."""
        self._launch(node)
        self._wait_until_serving()

    def restart(self, properties: Mapping[str, str]) -> None:
        """Kill all nodes that run, and start them with these settings besides those of the beginning."""
        nodes = sorted(self._processes)
        self._kill_all()
        for node in nodes:
            self._write_properties(node, self._server_properties(node) | properties)
            self._launch(node)
        self._wait_until_serving()

    def freeze(self, node: int) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        self._processes[node].send_signal(signal.SIGSTOP)
        self._frozen.add(node)

    def thaw(self, node: int) -> None:
        """SIGCONT."""
        self._processes[node].send_signal(signal.SIGCONT)
        self._frozen.discard(node)

    def heal(self) -> None:
        """Thaw and start whatever is frozen or was killed."""
        for node in list(self._frozen):
            self.thaw(node)
        for node in set(range(self.nodes)) - set(self._processes):
            self._launch(node)
        self._wait_until_serving()

    def admin(self) -> AdminClient:
        """A fresh AdminClient on the inter-broker listener, allowed everything."""
        return AdminClient({"bootstrap.servers": self.internal, "log_level": 0})

    def segment(self, topic: str, partition: int, node: int = 0) -> Path | None:
        """The newest log segment of a partition, on disk."""
        segments = sorted((self._directory / f"data{node}" / f"{topic}-{partition}").glob("*.log"))
        return segments[-1] if segments else None

    def log(self, node: int) -> str:
        """What the node has printed."""
        path = self._directory / f"node{node}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    # ---- inside ----------------------------------------------------------------------------------------------------

    def _choose_ports(self) -> None:
        ports = free_ports(4 * self.nodes)
        self._ports, self._internal_ports, self._controller_ports, hidden = (ports[i::4] for i in range(4))
        self._client_ports = hidden if self._proxied else self._ports  # where the nodes themselves listen

    def _start_all(self) -> None:
        if self._proxied:
            self._end_proxies()
            self.proxies = [Proxy(*pair).__enter__() for pair in zip(self._ports, self._client_ports, strict=True)]
        for node in range(self.nodes):
            self._format(node)
        for node in range(self.nodes):
            self._launch(node)
        self._wait_until_serving()

    def _end_proxies(self) -> None:
        while self.proxies:
            self.proxies.pop().__exit__()

    def _kill_all(self) -> None:
        for node in list(self._processes):
            self.kill_node(node)

    def _write_properties(self, node: int, properties: Mapping[str, str]) -> Path:
        settings = self._directory / f"node{node}.properties"
        settings.write_text("".join(f"{key}={value}\n" for key, value in properties.items()))
        return settings

    def _format(self, node: int) -> None:
        settings = self._write_properties(node, self._server_properties(node))
        arguments = ["format", f"--cluster-id={self._cluster_id}", "-c", str(settings)]  # an id may begin with -
        if self._security == "scram_tls":
            for mechanism in ("SCRAM-SHA-256", "SCRAM-SHA-512"):
                arguments += ["--add-scram", f"{mechanism}=[name={USERNAME},password={PASSWORD}]"]
        command = java_command("kafka.tools.StorageTool", *arguments, jvm=("-Xmx128m",), version=self.version)
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"formatting Kafka's storage failed:\n{done.stdout}{done.stderr}")

    def _server_properties(self, node: int) -> dict[str, str]:
        replication = str(min(3, self.nodes))
        controllers = self._controller_ports[: self._controllers]
        voters = (f"{i + 1}@127.0.0.1:{port}" for i, port in enumerate(controllers))
        controls = node < self._controllers
        control = f",CONTROLLER://127.0.0.1:{self._controller_ports[node]}" if controls else ""
        protocol = {None: "PLAINTEXT", "plain": "SASL_PLAINTEXT", "scram_tls": "SASL_SSL"}[self._security]
        internal = f"INTERNAL://127.0.0.1:{self._internal_ports[node]}"
        properties = {
            "process.roles": "broker,controller" if controls else "broker",
            "node.id": str(node + 1),
            "controller.quorum.voters": ",".join(voters),
            "listeners": f"CLIENT://127.0.0.1:{self._client_ports[node]},{internal}{control}",
            "advertised.listeners": f"CLIENT://127.0.0.1:{self._ports[node]},{internal}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "INTERNAL",
            "listener.security.protocol.map": f"CONTROLLER:PLAINTEXT,INTERNAL:PLAINTEXT,CLIENT:{protocol}",
            "log.dirs": str(self._directory / f"data{node}"),
            "offsets.topic.replication.factor": replication,
            "transaction.state.log.replication.factor": replication,
            "transaction.state.log.min.isr": "2" if self.nodes > 2 else "1",
            "default.replication.factor": replication,
            **_PROPERTIES,
        }
        modules = "org.apache.kafka.common.security"
        if self._security == "plain":
            module = f'{modules}.plain.PlainLoginModule required user_{USERNAME}="{PASSWORD}";'
            properties["listener.name.client.sasl.enabled.mechanisms"] = "PLAIN"
            properties["listener.name.client.plain.sasl.jaas.config"] = module
        elif self._security == "scram_tls":
            module = f"{modules}.scram.ScramLoginModule required;"
            properties["listener.name.client.sasl.enabled.mechanisms"] = "SCRAM-SHA-256,SCRAM-SHA-512"
            properties["listener.name.client.scram-sha-256.sasl.jaas.config"] = module
            properties["listener.name.client.scram-sha-512.sasl.jaas.config"] = module
            properties["listener.name.client.ssl.keystore.type"] = "PEM"
            properties["listener.name.client.ssl.keystore.location"] = str(self._directory / "tls" / "server.both.pem")
        if self._authorizer:
            properties["authorizer.class.name"] = "org.apache.kafka.metadata.authorizer.StandardAuthorizer"
            properties["super.users"] = "User:ANONYMOUS"
        return properties | self._properties

    def _launch(self, node: int) -> None:
        settings = self._directory / f"node{node}.properties"
        command = java_command("kafka.Kafka", str(settings), jvm=("-Xms256m", "-Xmx512m"), version=self.version)
        self._processes[node] = self._run(command, f"node{node}.log")

    def _run(self, command: list[str], log: str) -> subprocess.Popen[bytes]:
        with (self._directory / log).open("ab") as output:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._directory,
                env={**os.environ, "LC_ALL": "C.UTF-8"},
                preexec_fn=die_with_parent if threading.current_thread() is threading.main_thread() else None,
            )

    def _wait_until_serving(self) -> None:
        admin = self.admin()

        def serving() -> bool:
            for node, process in self._processes.items():
                if process.poll() is not None:
                    raise NodeEndedError(f"node {node} of {self.name} ended:\n{self.log(node)[-3000:]}")
            try:
                known = len(admin.list_topics(timeout=1).brokers)
            except KafkaException:
                return False
            return known >= len(self._processes) - len(self._frozen)

        wait_for(serving, within=START_TIMEOUT_S, what=f"{self.nodes} Kafka nodes of {self.name} serve")
