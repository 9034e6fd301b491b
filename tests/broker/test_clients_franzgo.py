"""franz-go, unmodified, against the bundled broker: the newest versions of the protocol, transactions of KIP-890."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import ConsumerGroupType
from confluent_kafka.admin import AdminClient, NewTopic

from tests.support.bundled import BundledCluster

MODULE = Path(__file__).with_name("franzgo")
COUNT = "1000"

pytestmark = [pytest.mark.slow, pytest.mark.timeout(400)]


def missing() -> str | None:
    """Why the Go client can't be built here, or None."""
    if shutil.which("go") is None:
        return "`go` isn't on PATH: the franz-go tests need Go"
    wanted = re.search(r"^go (\d+)\.(\d+)", (MODULE / "go.mod").read_text(), re.MULTILINE)
    found = re.search(r"go(\d+)\.(\d+)", subprocess.run(["go", "version"], capture_output=True, text=True).stdout)
    assert wanted is not None
    if found is None or (int(found[1]), int(found[2])) < (int(wanted[1]), int(wanted[2])):
        return f"the franz-go tests need Go {wanted[1]}.{wanted[2]}"
    return None


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built client."""
    reason = missing()
    if reason:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{reason} (required because CI=true)", pytrace=False)
        pytest.skip(reason)
    target = tmp_path_factory.mktemp("franzgo") / "franzgo"
    built = subprocess.run(
        ["go", "build", "-buildvcs=false", "-o", str(target), "."],
        cwd=MODULE,
        capture_output=True,
        text=True,
        timeout=360,
    )
    assert built.returncode == 0, built.stderr
    return target


@pytest.fixture(scope="module")
def bundled() -> Iterator[BundledCluster]:
    with BundledCluster(nodes=2, properties={"group.consumer.heartbeat.interval.ms": "300"}) as cluster:
        admin = AdminClient(cluster.client_config)
        for future in admin.create_topics([NewTopic("from", 6, 2), NewTopic("to", 6, 2)]).values():
            future.result(10)
        yield cluster


def run(program: Path, *args: str, protocol: str = "classic") -> str:
    environment = {**os.environ, "GROUP_PROTOCOL": protocol}
    done = subprocess.run([str(program), *args], capture_output=True, text=True, timeout=60, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_given_franz_go_when_it_produces_consumes_and_transacts_then_nothing_is_lost(
    program: Path, bundled: BundledCluster
) -> None:
    assert run(program, bundled.bootstrap, "produce", "from", COUNT) == "produced 1000\n"
    assert run(program, bundled.bootstrap, "consume", "from", "readers", COUNT) == "consumed 1000 distinct\n"
    copied = run(program, bundled.bootstrap, "transact", "from", "to", "copiers", COUNT)
    assert copied == "committed 1000, aborted some: true\n"
    assert run(program, bundled.bootstrap, "consume", "to", "readers of the copy", COUNT) == "consumed 1000 distinct\n"


def test_given_franz_go_with_the_new_group_protocol_when_it_consumes_and_transacts_then_nothing_is_lost(
    program: Path, bundled: BundledCluster
) -> None:
    admin = AdminClient(bundled.client_config)
    for future in admin.create_topics([NewTopic("newer", 6, 2), NewTopic("copy", 6, 2)]).values():
        future.result(10)
    assert run(program, bundled.bootstrap, "produce", "newer", COUNT) == "produced 1000\n"
    assert run(program, bundled.bootstrap, "consume", "newer", "n", COUNT, protocol="consumer") == (
        "consumed 1000 distinct\n"
    )
    described = admin.describe_consumer_groups(["n"])["n"].result(10)
    assert described.type == ConsumerGroupType.CONSUMER
    copied = run(program, bundled.bootstrap, "transact", "newer", "copy", "nc", COUNT, protocol="consumer")
    assert copied == "committed 1000, aborted some: true\n"
    assert run(program, bundled.bootstrap, "consume", "copy", "n", COUNT, protocol="consumer") == (
        "consumed 1000 distinct\n"
    )
