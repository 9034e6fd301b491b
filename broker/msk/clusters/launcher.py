"""Writes a cluster's file with everything that belongs to it, and starts its process."""

from __future__ import annotations

import json
import secrets
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

from broker.msk.clusters import cluster_file, names
from broker.msk.clusters.certificates import CertificateAuthority
from broker.msk.clusters.hosts_file import HostsFile
from broker.msk.clusters.listeners import listeners
from broker.msk.clusters.process import ClusterProcess
from broker.msk.properties import for_broker, parse_properties
from broker.msk.records import ClusterRecord
from broker.msk.state import write_atomically

if TYPE_CHECKING:
    from broker.msk.service import Service


AUTHORITIES = "certificate-authorities"  # in DATA: authorities of clients' certificates, as PEM files
StartCluster = Callable[[Path, Path], Awaitable[ClusterProcess]]  # cluster file, log file


class Launcher:
    """Files are in DATA/clusters/KEY, readable by their owner alone."""

    def __init__(self, service: Service, start: StartCluster) -> None:
        self._service = service
        self._start = start
        self._authority = CertificateAuthority(service.settings.data, service.now())
        self._hosts = HostsFile()

    def directory(self, record: ClusterRecord) -> Path:
        """Where a cluster's files are."""
        return self._service.settings.data / "clusters" / record.key

    def names_resolve(self, record: ClusterRecord) -> bool:
        """Whether this machine knows the host names of a cluster's brokers."""
        return cluster_file.resolves_all(record, self._hosts.resolves)

    def control_password(self, record: ClusterRecord) -> str:
        """The password of the control plane's user, made the first time."""
        path = self.directory(record) / "control.password"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write_atomically(path, secrets.token_urlsafe(24).encode())
        return path.read_text()

    async def write(self, record: ClusterRecord) -> None:
        """Write the cluster's file; certificates are issued anew."""
        directory = self.directory(record)
        password = self.control_password(record)
        hosts = [names.host(record, node, spec.infix) for node in record.nodes for spec in listeners(record)]
        certificate = self._authority.issue(
            record.name,
            directory,
            list(dict.fromkeys([f"*.{names.domain(record)}", *hosts, "localhost"])),
            list(dict.fromkeys([*(node.address for node in record.nodes), "127.0.0.1"])),
            self._service.now(),
        )
        content = cluster_file.render(
            record,
            directory=directory,
            certificate=certificate,
            authority=self._client_authorities(directory),
            credentials=self._service.credentials_file,
            properties=self._properties(record),
            users=await self._service.secrets.users(record.scram_secrets),
            control_password=password,
            resolves=self._hosts.resolves,
        )
        policy = directory / cluster_file.POLICY_FILE
        if record.policy is None:
            policy.unlink(missing_ok=True)
        else:
            write_atomically(policy, record.policy.encode())
        write_atomically(directory / "cluster.json", json.dumps(content, indent=1).encode())

    async def launch(self, record: ClusterRecord) -> ClusterProcess:
        """Write the file and start the process. Raises ProcessFailed, OSError."""
        await self.write(record)
        directory = self.directory(record)
        return await self._start(directory / "cluster.json", directory / "broker.log")

    def _client_authorities(self, directory: Path) -> Path:
        """Who may issue clients' certificates: our own authority, and those that users have put into DATA."""
        path = directory / "client-authorities.pem"
        theirs = sorted((self._service.settings.data / AUTHORITIES).glob("*.pem"))
        write_atomically(path, b"\n".join(one.read_bytes() for one in (self._authority.certificate, *theirs)))
        return path

    def _properties(self, record: ClusterRecord) -> dict[str, str]:
        software = (record.provisioned or {}).get("currentBrokerSoftwareInfo", {})
        arn = software.get("configurationArn")
        for configuration in self._service.configurations:
            if configuration.arn == arn:
                for revision in configuration.revisions:
                    if revision.revision == software.get("configurationRevision"):
                        return for_broker(parse_properties(revision.properties))
        return {}
