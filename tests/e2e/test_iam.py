"""A link between clusters that let in who logs in with IAM: exactly once, over sessions that end every few seconds."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient

from replicator.config.librdkafka import client_properties
from replicator.config.models import ClusterConfig, SecurityConfig
from tests.credentials.conftest import no_aws  # noqa: F401 - a fixture
from tests.e2e.rig import records
from tests.support.certificates import CertificateAuthority
from tests.support.checker import compare_topics
from tests.support.copying import create, produce
from tests.support.file_bundled import FileBundled
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]

KEY, SECRET = "AKIAREPLICATOR", "a-secret-that-must-not-be-seen"
COPIER = "arn:aws:iam::123456789012:user/copier"
REGION = "eu-west-1"
TOPIC = "orders"


class IamCluster:
    """A cluster with MSK's listener for IAM alone; `copier` may do everything there."""

    def __init__(self, directory: Path, name: str, session_ms: int) -> None:
        directory.mkdir(parents=True)
        self.authority = CertificateAuthority(directory / "ca")
        server = self.authority.issue("server")
        self.credentials = directory / "credentials.json"
        self.allow(True)
        arn = f"arn:aws:kafka:{REGION}:123456789012:cluster/{name}/uuid"
        content = {
            "data": str(directory / "data"),
            "control": "127.0.0.1:0",
            "nodes": [{"id": 1}],
            "listeners": [{"name": "CLIENT_IAM", "protocol": "SASL_SSL", "mechanisms": ["OAUTHBEARER"]}],
            "tls": {"cert": str(server.certificate), "key": str(server.key)},
            "iam": {"region": REGION, "cluster_arn": arn, "credentials": str(self.credentials)},
            "config": {
                "auto.create.topics.enable": "false",
                "offsets.topic.num.partitions": "2",
                "group.initial.rebalance.delay.ms": "0",
                "connections.max.reauth.ms": str(session_ms),
            },
        }
        (directory / "cluster.json").write_text(json.dumps(content))
        self.process = FileBundled(directory / "cluster.json")

    def allow(self, yes: bool) -> None:
        """Whether the copier may do anything."""
        statement = {"Effect": "Allow", "Action": "kafka-cluster:*", "Resource": "*"}
        document = {"Version": "2012-10-17", "Statement": [statement]}
        key = {"access_key_id": KEY, "secret_access_key": SECRET, "principal_arn": COPIER}
        identity = {"arn": COPIER, "policies": [document] if yes else []}
        self.credentials.write_text(json.dumps({"credentials": [key], "identities": [identity]}))

    @property
    def bootstrap(self) -> str:
        return self.process.bootstrap["CLIENT_IAM"]

    @property
    def security(self) -> dict[str, str]:
        authority = str(self.authority.certificate)
        return {"protocol": "SASL_SSL", "mechanism": "AWS_MSK_IAM", "region": REGION, "ca_file": authority}

    @property
    def client_config(self) -> dict[str, Any]:
        """For the observer, which logs in as the copier."""
        how = SecurityConfig(**self.security)  # type: ignore[arg-type]
        return dict(client_properties(ClusterConfig(bootstrap_servers=self.bootstrap, security=how), client_id="seen"))


@pytest.fixture
def clusters(no_aws: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[tuple[IamCluster, IamCluster]]:  # noqa: F811
    no_aws.setenv("AWS_ACCESS_KEY_ID", KEY)
    no_aws.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    with ExitStack() as stack:
        source, target = (IamCluster(tmp_path / name, name, 3_000) for name in ("source", "target"))
        stack.enter_context(source.process)
        stack.enter_context(target.process)
        yield source, target


def test_given_iam_and_short_sessions_then_every_record_is_copied_once_and_nothing_secret_is_printed(
    clusters: tuple[IamCluster, IamCluster], tmp_path: Path
) -> None:
    source, target = clusters
    create(AdminClient(source.client_config), TOPIC)
    link = {"name": "l", "source": "us", "target": "eu", "topics": {"include": [TOPIC]}, "lanes": 2}
    installation = Installation(tmp_path / "replicator", {"us": source, "eu": target}, [link])
    with installation.worker() as worker:
        worker.wait_ready()
        for round_number in range(4):  # some 8 s: several sessions of every connection
            produce(source.client_config, TOPIC, 0, records(300, start=300 * round_number))
            installation.wait_until_copied(1)
            wait_for(lambda: worker.get("/readyz")[0] == 200, within=30, every=0.1, what="it is ready")
        said = [worker.get(path)[1] for path in ("/metrics", "/readyz", "/v1/links", "/v1/links/l", "/v1/config")]
        lost = re.findall(r"connection to \S+ lost|partition waits|lanes revoked|Traceback", worker.log())
        assert not lost
        for verb in ("check", "doctor", "verify"):
            done = installation.run(verb)
            said += [done.stdout, done.stderr]
            assert done.returncode in (0, 1), f"{verb}: {done.stdout[-2000:]}{done.stderr[-2000:]}"
        said.append(worker.log())
    everything = "\n".join(said)
    assert "with AWS IAM, the default credentials" in everything
    assert SECRET not in everything
    assert "X-Amz-Signature" not in everything
    assert not re.search(r"aHR0cHM6Ly9rYWZrYS", everything), "the beginning of a token"
    verdict = compare_topics(source.client_config, target.client_config, {TOPIC: 1}, rename="us.{}")
    assert not verdict.problems


def test_given_a_principal_that_may_not_connect_then_check_says_so(
    clusters: tuple[IamCluster, IamCluster], tmp_path: Path
) -> None:
    source, target = clusters
    target.allow(False)
    link = {"name": "l", "source": "us", "target": "eu", "topics": {"include": [TOPIC]}, "lanes": 2}
    done = Installation(tmp_path / "replicator", {"us": source, "eu": target}, [link]).run("check")
    assert done.returncode == 3
    assert "cluster eu" in done.stdout
    assert "kafka-cluster:Connect" in done.stdout
    assert SECRET not in done.stdout + done.stderr
