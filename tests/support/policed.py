"""A cluster on which IAM policies decide, changed by tests while it runs.

    python -m tests.support.policed FILE

is `replicator-broker run --verbose --file FILE`, but that decisions aren't kept: changed policies count at once.
"""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka.admin import AdminClient

from tests.support.certificates import CertificateAuthority
from tests.support.kafka import die_with_parent

ACCOUNT = "123456789012"
REGION = "us-east-1"
_STOP_S = 15


class Policed:
    """One such cluster as its own process; a context manager.

    Replicator logs in as a session of a role; tests come by a listener without a log-in, and may do everything.
    """

    def __init__(self, directory: Path, name: str) -> None:
        self.name, self.uuid = name, f"uuid-of-{name}"
        self._directory = directory / name
        self._directory.mkdir(parents=True)
        self._authority = CertificateAuthority(self._directory / "ca")
        server = self._authority.issue("server")
        self._store = self._directory / "credentials.json"
        self._roles: dict[str, list[Mapping[str, Any]]] = {}
        self.allow({})
        content = {
            "nodes": [{"id": 1}],
            "listeners": [
                {"name": "IAM", "protocol": "SASL_SSL", "mechanisms": ["OAUTHBEARER"]},
                {"name": "INSIDE", "protocol": "PLAINTEXT"},
            ],
            "tls": {"cert": str(server.certificate), "key": str(server.key)},
            "iam": {
                "region": REGION,
                "cluster_arn": f"arn:aws:kafka:{REGION}:{ACCOUNT}:cluster/{name}/{self.uuid}",
                "credentials": str(self._store),
            },
            "config": {
                "auto.create.topics.enable": "false",
                "group.initial.rebalance.delay.ms": "0",
                "offsets.topic.num.partitions": "2",
                "super.users": "User:ANONYMOUS",
            },
        }
        self._file = self._directory / "cluster.json"
        self._file.write_text(json.dumps(content))
        self._bootstrap: dict[str, str] = {}

    def allow(self, roles: Mapping[str, Iterable[Mapping[str, Any]]]) -> None:
        """What these roles may do from now on: the statements of their policies."""
        self._roles |= {name: list(statements) for name, statements in roles.items()}
        content = {
            "account": ACCOUNT,
            "credentials": [_credential(name) for name in self._roles],
            "roles": [
                {
                    "arn": f"arn:aws:iam::{ACCOUNT}:role/{name}",
                    "policies": [_document(statements)] if statements else [],
                }
                for name, statements in self._roles.items()
            ],
        }
        made = self._store.with_suffix(".new")
        made.touch(mode=0o600)
        made.write_text(json.dumps(content))
        made.replace(self._store)

    @property
    def bootstrap(self) -> str:
        """Where Replicator connects."""
        return self._bootstrap["IAM"]

    def security(self, role: str) -> dict[str, str]:
        """Replicator's settings, as a session of this role; `write_profiles` has its credentials."""
        authority = str(self._authority.certificate)
        how = {"protocol": "SASL_SSL", "mechanism": "AWS_MSK_IAM", "region": REGION}
        return {**how, "profile": role, "ca_file": authority}

    @property
    def client_config(self) -> dict[str, str]:
        """librdkafka's settings for the test, which may do everything."""
        return {"bootstrap.servers": self._bootstrap["INSIDE"], "log_level": "0"}

    def admin(self) -> AdminClient:
        """May do everything."""
        return AdminClient(self.client_config)

    def log(self) -> str:
        """What the broker has logged, denials among it."""
        return (self._directory / "log").read_text(errors="replace")

    def __enter__(self) -> Self:
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.policed", str(self._file)],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                preexec_fn=die_with_parent,
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, f"{self.name} didn't start:\n{self.log()[-3000:]}"
        self._bootstrap = json.loads(line)["bootstrap"]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate(timeout=_STOP_S)


class As:
    """A cluster as a role reaches it, for an `Installation`."""

    def __init__(self, cluster: Policed, role: str) -> None:
        self.bootstrap, self.security = cluster.bootstrap, cluster.security(role)


def principal(role: str) -> str:
    """Whom brokers take a session of the role for."""
    return f"arn:aws:sts::{ACCOUNT}:assumed-role/{role}/test"


def write_profiles(path: Path, roles: Iterable[str]) -> None:
    """A file of credentials as AWS's tools have it (AWS_SHARED_CREDENTIALS_FILE), with a profile for each role."""
    profiles = configparser.ConfigParser(default_section="none", interpolation=None)
    for role in roles:
        made = _credential(role)
        profiles[role] = {
            "aws_access_key_id": made["access_key_id"],
            "aws_secret_access_key": made["secret_access_key"],
            "aws_session_token": made["session_token"],
        }
    with path.open("w") as file:
        profiles.write(file)


def _credential(role: str) -> dict[str, str]:
    return {
        "access_key_id": "ASIA" + "".join(c for c in role.upper() if c.isalnum()),
        "secret_access_key": f"secret-of-{role}",
        "session_token": f"session-of-{role}",
        "principal_arn": principal(role),
    }


def _document(statements: list[Mapping[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": statements}


def main() -> None:
    """See the module's text."""
    from broker.cli import main as broker
    from broker.security import policy_authorizer

    policy_authorizer.KEEP_S = 0.0
    sys.argv[1:] = ["run", "--verbose", "--file", sys.argv[1]]
    broker()


if __name__ == "__main__":
    main()
