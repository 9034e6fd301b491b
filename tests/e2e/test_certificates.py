"""Certificates that are changed while a link copies under mutual TLS: all of its connections use the new ones."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from tests.e2e.rig import records
from tests.support.certificates import CertificateAuthority
from tests.support.checker import compare_topics
from tests.support.copying import create, produce
from tests.support.file_bundled import FileBundled
from tests.support.ports import free_ports
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

TOPIC = "orders"


class MutualCluster:
    """A cluster that asks for certificates of one authority, which `renew` replaces, with all that it has issued."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True)
        self._directory = directory
        self._renewals = 0
        self.renew()
        content = {
            "data": str(directory / "data"),
            "acl_when_no_iam": False,
            "nodes": [{"id": 1}],
            "listeners": [
                {"name": "CLIENT", "port": free_ports(1)[0], "protocol": "SSL", "client_certificates": "required"}
            ],
            "tls": {name: str(directory / f"server-{name}.pem") for name in ("cert", "key")}
            | {"ca": str(directory / "ca.pem")},
            "config": {"auto.create.topics.enable": "false", "offsets.topic.num.partitions": "2"},
        }
        (directory / "cluster.json").write_text(json.dumps(content))
        self.process = FileBundled(directory / "cluster.json")

    def renew(self) -> None:
        """Another authority, other certificates: files are replaced, as tools that hand them out do."""
        self._renewals += 1
        authority = CertificateAuthority(self._directory / f"authority-{self._renewals}")
        server, ours = authority.issue("server"), authority.issue("copier")
        names = {
            "ca": authority.certificate, "server-cert": server.certificate, "server-key": server.key,
            "our-key": ours.key, "our-cert": ours.certificate,
        }  # fmt: skip
        for name, made in names.items():
            shutil.copy(made, self._directory / f"{name}.new")
            (self._directory / f"{name}.new").rename(self._directory / f"{name}.pem")

    @property
    def bootstrap(self) -> str:
        return self.process.bootstrap["CLIENT"]

    @property
    def security(self) -> dict[str, str]:
        at = self._directory
        ours = {"cert_file": str(at / "our-cert.pem"), "key_file": str(at / "our-key.pem")}
        return {"protocol": "SSL", "ca_file": str(at / "ca.pem"), **ours}

    @property
    def client_config(self) -> dict[str, Any]:
        return {
            "bootstrap.servers": self.bootstrap,
            "security.protocol": "SSL",
            "ssl.ca.location": self.security["ca_file"],
            "ssl.certificate.location": self.security["cert_file"],
            "ssl.key.location": self.security["key_file"],
            "log_level": 0,
        }


def test_given_other_certificates_on_both_sides_then_the_link_goes_on_with_them_without_a_restart(
    tmp_path: Path,
) -> None:
    source, target = MutualCluster(tmp_path / "source"), MutualCluster(tmp_path / "target")
    link = {"name": "l", "source": "us", "target": "eu", "topics": {"include": [f"{TOPIC}.*"]}, "lanes": 2}
    with source.process, target.process:
        create(AdminClient(source.client_config), TOPIC)
        installation = Installation(tmp_path / "replicator", {"us": source, "eu": target}, [link])
        with installation.worker() as worker:
            worker.wait_ready()
            produce(source.client_config, TOPIC, 0, records(300))
            installation.wait_until_copied(1)
            for cluster in (source, target):
                cluster.process.__exit__(None, None, None)
                cluster.renew()  # the old ones are refused by what starts now
            for cluster in (source, target):
                cluster.process.__enter__()
            produce(source.client_config, TOPIC, 0, records(300, start=300))
            wait_for(lambda: worker.get("/readyz")[0] == 200, within=60, every=0.2, what="it is ready again")
            create(AdminClient(source.client_config), f"{TOPIC}-later")  # for the administrator
            installation.wait_until_copied(2, within=60)
            assert worker.log().count('"event": "serving"') == 1
            assert "Traceback" not in worker.log()
    with source.process, target.process:
        verdict = compare_topics(source.client_config, target.client_config, {TOPIC: 1}, rename="us.{}")
    assert not verdict.problems
