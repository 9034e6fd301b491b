"""What a cluster's record means for its process: files that the broker takes, names and addresses as MSK's."""

from __future__ import annotations

import errno
import socket
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pytest
from cryptography import x509

from broker.cluster_file import ClusterFile
from broker.msk.clusters import addresses, cluster_file, names
from broker.msk.clusters.certificates import CertificateAuthority
from broker.msk.clusters.hosts_file import HostsFile, lines
from broker.msk.records import ClusterRecord, ClusterState, NodeRecord
from tests.msk.world import scram_password_is

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def _record(network: str = "127.70.1.", brokers: int = 3, zones: int = 3, **settings: Any) -> ClusterRecord:
    nodes = [
        NodeRecord(
            id=number,
            address=addresses.address(network, number),
            subnet=f"subnet-{number % zones}",
            zone=names.zone("us-east-1", number % zones + 1),
            added=NOW,
            eni="eni-1",
        )
        for number in range(1, brokers + 1)
    ]
    return ClusterRecord(
        key="abcd1234-abcd-cafe-abab-9876543210ab-4",
        arn="arn:aws:kafka:us-east-1:123456789012:cluster/Orders/abcd1234-abcd-cafe-abab-9876543210ab-4",
        region="us-east-1",
        account="123456789012",
        created=NOW,
        host_part="x1y2z3",
        name="Orders",
        state=ClusterState.ACTIVE,
        version="K1",
        provisioned={"brokerNodeGroupInfo": {}, **settings},
        nodes=nodes,
    )


def _render(record: ClusterRecord, tmp_path: Path, hosts: Path | None = None) -> tuple[dict[str, Any], ClusterFile]:
    content = cluster_file.render(
        record,
        directory=tmp_path,
        certificate=(tmp_path / "node.pem", tmp_path / "node.key"),
        authority=tmp_path / "ca.pem",
        credentials=tmp_path / "credentials.json",
        properties={"num.partitions": "3"},
        users={"alice": "pw"},
        control_password="secret",
        resolves=HostsFile(hosts or tmp_path / "none").resolves,
    )
    return content, ClusterFile.model_validate(content)


ALL_WAYS = {
    "clientAuthentication": {
        "sasl": {"iam": {"enabled": True}, "scram": {"enabled": True}},
        "tls": {"enabled": True},
        "unauthenticated": {"enabled": True},
    },
    "encryptionInfo": {"encryptionInTransit": {"clientBroker": "TLS_PLAINTEXT"}},
    "openMonitoring": {"prometheus": {"jmxExporter": {"enabledInBroker": True}}},
}


def test_the_broker_takes_a_file_with_every_way_in(tmp_path: Path) -> None:
    _, file = _render(_record(**ALL_WAYS), tmp_path)
    assert {(one.name, one.port, one.protocol, one.client_certificates) for one in file.listeners} == {
        ("CLIENT", 9092, "PLAINTEXT", "none"),
        ("CLIENT_SECURE", 9094, "SSL", "requested"),
        ("CLIENT_SASL_SCRAM", 9096, "SASL_SSL", "none"),
        ("CLIENT_IAM", 9098, "SASL_SSL", "none"),
        ("CONTROL_PLANE", 9090, "SASL_PLAINTEXT", "none"),
    }
    assert file.config["super.users"] == "User:__amazon_msk_control_plane"
    assert file.config["num.partitions"] == "3"
    assert [node.host for node in file.nodes] == ["127.70.1.1", "127.70.1.2", "127.70.1.3"]
    assert file.metrics is not None


def test_settings_of_users_never_make_anybody_else_a_super_user(tmp_path: Path) -> None:
    record = _record()
    content = cluster_file.render(
        record,
        directory=tmp_path,
        certificate=(tmp_path / "a", tmp_path / "b"),
        authority=tmp_path / "c",
        credentials=tmp_path / "d",
        properties={"super.users": "User:mallory"},
        users={cluster_file.CONTROL_USER: "guess"},
        control_password="secret",
        resolves=lambda name, address: False,
    )
    assert content["config"]["super.users"] == f"User:{cluster_file.CONTROL_USER}"
    assert scram_password_is("secret", content["scram_users"][cluster_file.CONTROL_USER])
    assert not scram_password_is("guess", content["scram_users"][cluster_file.CONTROL_USER])
    assert "secret" not in str(content["scram_users"])


@pytest.mark.parametrize(
    ("brokers", "zones", "copies", "in_sync"), [(3, 3, "3", "2"), (2, 2, "2", "1"), (6, 3, "3", "2")]
)
def test_defaults_are_by_zones(brokers: int, zones: int, copies: str, in_sync: str) -> None:
    found = cluster_file.defaults(_record(brokers=brokers, zones=zones))
    assert (found["default.replication.factor"], found["min.insync.replicas"]) == (copies, in_sync)


def test_where_brokers_share_an_address_they_take_free_ports(tmp_path: Path) -> None:
    _, file = _render(_record(network=addresses.SHARED, **ALL_WAYS), tmp_path)
    assert {one.port for one in file.listeners} == {0}
    assert {node.host for node in file.nodes} == {"127.0.0.1"}


def test_names_are_advertised_once_the_machine_knows_all_of_them(tmp_path: Path) -> None:
    record = _record(**ALL_WAYS)
    hosts = tmp_path / "hosts"
    printed = lines(record)
    hosts.write_text("\n".join(printed[:2]))
    assert all(not one.advertised_hosts for one in _render(record, tmp_path, hosts)[1].listeners)
    hosts.write_text("127.0.0.1 localhost # ours:\n" + "\n".join(printed) + "\n")
    named = {one.name: one.advertised_hosts for one in _render(record, tmp_path, hosts)[1].listeners}
    assert named["CLIENT_IAM"][1] == "b-1.orders.x1y2z3.c4.kafka.us-east-1.amazonaws.com"
    assert named["CONTROL_PLANE"] == {}


@pytest.mark.parametrize(
    ("region", "zone"),
    [
        ("us-east-1", "use1-az2"),
        ("ap-southeast-2", "apse2-az2"),
        ("eu-west-1", "euw1-az2"),
        ("us-gov-west-1", "usgw1-az2"),
    ],
)
def test_zones_have_ids_as_aws_has_them(region: str, zone: str) -> None:
    assert names.zone(region, 2) == zone


def test_certificates_are_for_names_and_addresses_and_the_authority_stays(tmp_path: Path) -> None:
    authority = CertificateAuthority(tmp_path, NOW)
    before = authority.certificate.read_bytes()
    path, key = authority.issue("Orders", tmp_path, ["*.orders.x"], ["127.70.1.1"], NOW)
    found = x509.load_pem_x509_certificate(path.read_bytes())
    alternatives = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternatives.get_values_for_type(x509.DNSName) == ["*.orders.x"]
    assert [str(one) for one in alternatives.get_values_for_type(x509.IPAddress)] == ["127.70.1.1"]
    found.verify_directly_issued_by(x509.load_pem_x509_certificate(before))
    assert key.stat().st_mode & 0o077 == 0
    assert (tmp_path / "ca.key").stat().st_mode & 0o077 == 0
    assert CertificateAuthority(tmp_path, NOW).certificate.read_bytes() == before


class _NoAddress(socket.socket):
    def bind(self, address: Any) -> None:
        raise OSError(errno.EADDRNOTAVAIL, "no such address")


def test_networks_are_free_and_not_given_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    first = addresses.choose_network([], Random(1))
    assert addresses.choose_network([first], Random(1)) != first
    with socket.socket() as taken:
        taken.bind((first + "1", 9098))
        taken.listen()
        assert addresses.choose_network([], Random(1)) != first
    monkeypatch.setattr(socket, "socket", _NoAddress)
    assert addresses.choose_network([], Random(1)) == addresses.SHARED
