"""Apache Kafka as it was before KRaft: brokers of 2.8 and a ZooKeeper, for what has to work there too."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping

from tests.support.javatools import java_command
from tests.support.kafka import KafkaCluster, Security
from tests.support.ports import free_ports

VERSION = "2.8.2"


class ZooKeeperKafkaCluster(KafkaCluster):
    """As `KafkaCluster`, with a ZooKeeper node in the controllers' place; `scram_tls` isn't set up here."""

    def __init__(
        self,
        nodes: int = 1,
        *,
        security: Security | None = None,
        properties: Mapping[str, str] | None = None,
        authorizer: bool = False,
        name: str = "zookeeper-kafka",
        version: str = VERSION,
    ) -> None:
        assert security != "scram_tls", "users in ZooKeeper aren't set up here"
        self._zookeeper: subprocess.Popen[bytes] | None = None
        super().__init__(
            nodes, security=security, properties=properties, authorizer=authorizer, name=name, version=version
        )

    def _choose_ports(self) -> None:
        super()._choose_ports()
        self._zookeeper_port = free_ports(1)[0]

    def _start_all(self) -> None:
        settings = self._directory / "zookeeper.properties"
        data = self._directory / "data-zookeeper"
        settings.write_text(
            f"clientPort={self._zookeeper_port}\nclientPortAddress=127.0.0.1\ndataDir={data}\n"
            "admin.enableServer=false\ntickTime=500\nmaxClientCnxns=0\n"
        )
        main = "org.apache.zookeeper.server.quorum.QuorumPeerMain"
        command = java_command(main, str(settings), jvm=("-Xmx128m",), version=self.version)
        self._zookeeper = self._run(command, "zookeeper.log")
        super()._start_all()  # brokers wait for it

    def _kill_all(self) -> None:
        super()._kill_all()
        if self._zookeeper is not None:
            self._zookeeper.kill()
            self._zookeeper.wait(timeout=20)

    def _format(self, node: int) -> None:
        settings = self._directory / f"node{node}.properties"
        settings.write_text("".join(f"{key}={value}\n" for key, value in self._server_properties(node).items()))

    def _server_properties(self, node: int) -> dict[str, str]:
        properties = super()._server_properties(node)
        for name in ("process.roles", "node.id", "controller.quorum.voters", "controller.listener.names"):
            del properties[name]
        for name in ("listeners", "listener.security.protocol.map"):
            parts = [part for part in properties[name].split(",") if not part.startswith("CONTROLLER:")]
            properties[name] = ",".join(parts)
        if "authorizer.class.name" in properties:
            properties["authorizer.class.name"] = "kafka.security.authorizer.AclAuthorizer"
        return properties | {
            "broker.id": str(node + 1),
            "zookeeper.connect": f"127.0.0.1:{self._zookeeper_port}",
            "zookeeper.session.timeout.ms": "3000",
        }
