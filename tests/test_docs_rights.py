"""The rights that docs/security.md grants are enough: a worker with them alone copies, and misses nothing."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
)
from typer.testing import CliRunner

from replicator.cli.main import app
from tests.support.bundled import BundledCluster
from tests.support.checker import Seen
from tests.support.copying import create, produce
from tests.support.documents import shell_lines
from tests.support.groups import commit, committed
from tests.support.kafka import PASSWORD, USERNAME
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PAGE = "docs/security.md"
KINDS = {
    "--topic": ResourceType.TOPIC,
    "--group": ResourceType.GROUP,
    "--transactional-id": ResourceType.TRANSACTIONAL_ID,
    "--cluster": ResourceType.BROKER,
}
ADMIN = {"sasl.username": "admin", "sasl.password": PASSWORD}
READER = AclBinding(
    ResourceType.TOPIC,
    "orders",
    ResourcePatternType.LITERAL,
    "User:reader",
    "*",
    AclOperation.READ,
    AclPermissionType.ALLOW,
)
OPERATIONS = {operation.name.replace("_", "").lower(): operation for operation in AclOperation}


def bindings(words: list[str]) -> list[AclBinding]:
    """What `kafka-acls.sh --add` with these words creates, for the user that the test's worker is."""
    kind, name, pattern = ResourceType.UNKNOWN, "", ResourcePatternType.LITERAL
    operations: list[AclOperation] = []
    rest = iter(words[1:])
    for word in rest:
        if word == "--cluster":
            kind, name = ResourceType.BROKER, "kafka-cluster"
        elif word in KINDS:
            kind, name = KINDS[word], next(rest)
        elif word == "--operation":
            operations.append(OPERATIONS[next(rest).lower()])
        elif word == "--resource-pattern-type":
            pattern = ResourcePatternType[next(rest).upper()]
        elif word == "--allow-principal":
            assert next(rest) == "User:replicator"
        elif word in ("--bootstrap-server", "--command-config"):
            next(rest)
        else:
            assert word == "--add"
    principal = f"User:{USERNAME}"
    return [AclBinding(kind, name, pattern, principal, "*", op, AclPermissionType.ALLOW) for op in operations]


@contextlib.contextmanager
def granted(lines: list[list[str]], name: str) -> Iterator[BundledCluster]:
    """A cluster that checks rights, with these."""
    with BundledCluster(name=name, authorizer=True) as cluster:
        wanted = [binding for words in lines for binding in bindings(words)]
        admin = cluster.admin()  # kept: what is asked of one that is gone is never answered
        for future in admin.create_acls(wanted).values():
            future.result(20)
        yield cluster


def complaints(directory: Path, source: list[list[str]], target: list[list[str]]) -> list[str]:
    """What is said to be missing, before and while a worker with these rights keeps everything in step."""
    sync = {"heartbeats": True, "checkpoints": True, "every": 0.5}
    link = {"name": "us-to-eu", "source": "us", "target": "eu", "replication_factor": 1, "sync": sync}
    with granted(source, "us") as us, granted(target, "eu") as eu:
        everything = {**us.client_config, **ADMIN}
        create(us.admin(), "orders")
        produce(everything, "orders", 0, [Seen(i, b"k", b"v", (), 1_790_000_000_000) for i in range(3)])
        commit(us, "readers", {("orders", 0): 2})
        admin = us.admin()
        admin.create_acls([READER])[READER].result(20)
        installation = Installation(directory, {"us": us, "eu": eu}, [link])
        found = wrong(told(installation, "check")["findings"])
        with installation.worker() as worker:
            with contextlib.suppress(AssertionError):
                worker.wait_ready(within=10)

            def in_step() -> bool:
                (link,) = told(installation, "status")["links"]
                lags = [part["lag"] for part in link["partitions"] if part["topic"] == "orders"]
                assert lags == [0], link
                assert not link["syncs"], link["syncs"]
                topics = eu.admin().list_topics(timeout=5).topics
                assert {"us.orders", "us.heartbeats", "us.checkpoints.internal", "heartbeats"} <= topics.keys()
                assert committed(eu, "readers") == {("us.orders", 0): 2}
                return True

            try:
                wait_for(in_step, within=15, every=0.2, what="everything is in step")
            except AssertionError as error:
                found.append(str(error))
            found += [line for line in worker.log().splitlines() if "authoriz" in line.lower() or "grant " in line]
        return found


def told(installation: Installation, verb: str) -> dict[str, Any]:
    """What the verb says as JSON."""
    done = CliRunner().invoke(app, [verb, "-c", str(installation.file), "-o", "json"])
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def wrong(findings: list[dict[str, Any]]) -> list[str]:
    return [str(finding) for finding in findings if finding["level"] != "ok"]


def test_given_the_rights_of_the_page_when_a_worker_has_no_others_then_it_misses_none(tmp_path: Path) -> None:
    source, target = shell_lines(PAGE, "sh source"), shell_lines(PAGE, "sh target")
    assert (len(source), len(target)) == (4, 8)
    missing = complaints(tmp_path, source, target)
    assert not missing, "\n".join(missing)


@pytest.mark.soak
@pytest.mark.parametrize("number", range(12))
def test_given_one_line_less_when_a_worker_runs_then_something_is_said_to_be_missing(
    tmp_path: Path, number: int
) -> None:
    source, target = shell_lines(PAGE, "sh source"), shell_lines(PAGE, "sh target")
    del (source if number < 4 else target)[number % 4 if number < 4 else number - 4]
    assert complaints(tmp_path, source, target) != []
