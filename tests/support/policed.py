"""A cluster of a cluster file on which IAM policies decide, and whose principal a test chooses.

    python -m tests.support.policed FILE

is `replicator-broker run --file FILE`, but that users may have ARNs for names (nobody else lets them in: see
`broker.security.sasl`), so that clients without a signature come as principals of IAM; and changed policies count at
once.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from confluent_kafka.admin import AdminClient

from tests.support.kafka import die_with_parent

ACCOUNT = "123456789012"
REPLICATOR = f"arn:aws:sts::{ACCOUNT}:assumed-role/Replicator/test"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/Replicator"
_PASSWORD = "of-all"
_STOP_S = 15

Statement = Mapping[str, Any]


class Policed:
    """One such cluster, named `name`, as its own process; a context manager. `principal` is who `security` logs in."""

    def __init__(self, directory: Path, name: str, principals: Iterable[str] = (REPLICATOR,)) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.arn = f"arn:aws:kafka:us-east-1:{ACCOUNT}:cluster/{name}/uuid-of-{name}"
        self.bootstrap = ""
        self._credentials = directory / f"{name}-credentials.json"
        self._log = directory / f"{name}.log"
        self._file = directory / f"{name}.json"
        self.allow(ROLE, [])
        users = {arn: {"password": _PASSWORD} for arn in (ROOT, *principals)}
        listener = {"name": "SASL", "protocol": "SASL_PLAINTEXT", "mechanisms": ["PLAIN"]}
        iam = {"region": "us-east-1", "cluster_arn": self.arn, "credentials": str(self._credentials)}
        config = {"group.initial.rebalance.delay.ms": "0", "auto.create.topics.enable": "false"}
        content = {"nodes": [{"id": 1}], "listeners": [listener], "iam": iam, "scram_users": users, "config": config}
        self._file.write_text(json.dumps(content))

    def allow(self, role: str, statements: Iterable[Statement]) -> None:
        """What the role may do from now on; nobody else but root may do anything."""
        listed = list(statements)
        policies = [{"Version": "2012-10-17", "Statement": listed}] if listed else []
        text = json.dumps({"account": ACCOUNT, "roles": [{"arn": role, "policies": policies}]})
        made = self._credentials.with_suffix(".new")
        made.write_text(text)
        made.replace(self._credentials)

    @property
    def security(self) -> dict[str, str]:
        """Replicator's settings, as the replicator's role."""
        return self.login(REPLICATOR)

    def login(self, principal: str) -> dict[str, str]:
        """Replicator's settings, as anybody who may be known."""
        return {"protocol": "SASL_PLAINTEXT", "mechanism": "PLAIN", "username": principal, "password": _PASSWORD}

    def client(self, principal: str = ROOT) -> dict[str, str]:
        """librdkafka's settings."""
        return {
            "bootstrap.servers": self.bootstrap,
            "log_level": "0",
            "security.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism": "PLAIN",
            "sasl.username": principal,
            "sasl.password": _PASSWORD,
        }

    def admin(self) -> AdminClient:
        """As root."""
        return AdminClient(self.client())

    def log(self) -> str:
        """What the broker has logged, denials among it."""
        return self._log.read_text(errors="replace")

    def __enter__(self) -> Self:
        with self._log.open("ab") as log:
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
        self.bootstrap = json.loads(line)["bootstrap"]["SASL"]
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._process.kill()
        self._process.communicate(timeout=_STOP_S)


def main() -> None:
    """See the module's text."""
    from broker.cli import main as broker
    from broker.security import policy_authorizer, sasl

    sasl.is_user_name = lambda name: True  # type: ignore[assignment]
    policy_authorizer.KEEP_S = 0.0  # type: ignore[misc]
    sys.argv[1:] = ["run", "--verbose", "--file", sys.argv[1]]
    broker()


if __name__ == "__main__":
    main()
