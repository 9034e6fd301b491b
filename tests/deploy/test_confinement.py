"""What the image, the unit and the manifests take from a worker, it can do without: here that is really taken."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.support.bundled import BundledCluster
from tests.support.checker import Seen
from tests.support.copying import create, produce
from tests.support.kafka import die_with_parent
from tests.support.ports import free_ports
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow]

# A mount namespace in which everything is read-only but what stands for /tmp.
READ_ONLY = """
mount --make-rprivate / && mount -t tmpfs -o size=16m tmpfs "$TMPDIR" || exit 70
for place in $(awk '{print $5}' /proc/self/mountinfo); do
  case "$place" in "$TMPDIR"|/proc*|/sys*|/dev*) ;; *) mount -o remount,ro,bind "$place" || true ;; esac
done
exec "$@"
"""
# No new privileges, and no memory that is both writable and executable (from Linux 6.3 on).
CONFINED = """
import ctypes, os, sys
kernel = ctypes.CDLL(None)
assert kernel.prctl(38, 1, 0, 0, 0) == 0
kernel.prctl(65, 1, 0, 0, 0)
for place in ("/", "/var/tmp", os.path.dirname(sys.argv[-1])):
    try:
        open(place + "/written", "w")
        sys.exit(place + " is writable")
    except OSError:
        pass
os.execv(sys.executable, [sys.executable, "-m", "replicator.cli.main", *sys.argv[1:]])
"""


@pytest.fixture(autouse=True)
def _namespaces() -> None:
    if subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("no mount namespaces for this user")


@contextlib.contextmanager
def confined(directory: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """`replicator` with these arguments, which end with a file; its log is in `directory`."""
    with tempfile.TemporaryDirectory(prefix="ro-") as temporary, (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", READ_ONLY, "sh", sys.executable, "-c", CONFINED, *arguments],
            stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, preexec_fn=die_with_parent,
            env={**os.environ, "TMPDIR": temporary, "PYTHONDONTWRITEBYTECODE": "1"},
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait(timeout=10)


def test_given_a_read_only_file_system_when_two_workers_run_then_they_copy_and_end_well(tmp_path: Path) -> None:
    with BundledCluster(name="us") as us, BundledCluster(name="eu") as eu:
        create(us.admin(), "orders")
        produce(us.client_config, "orders", 0, [Seen(i, b"k", b"v", (), 1_790_000_000_000) for i in range(100)])
        http = f"127.0.0.1:{free_ports(1)[0]}"
        clusters = {"us": {"bootstrap_servers": us.bootstrap}, "eu": {"bootstrap_servers": eu.bootstrap}}
        links = [{"name": "us-to-eu", "source": "us", "target": "eu", "sync": {"heartbeats": False}}]
        file = tmp_path / "replicator.yaml"
        file.write_text(yaml.safe_dump({"clusters": clusters, "links": links, "service": {"http": http}}))
        with confined(tmp_path, "run", "--workers", "2", "-c", str(file)) as worker:

            def copied() -> bool:
                assert worker.poll() is None, (tmp_path / "log").read_text()[-3000:]
                try:
                    urllib.request.urlopen(f"http://{http}/readyz", timeout=5).close()
                    with urllib.request.urlopen(f"http://{http}/v1/status", timeout=5) as answer:
                        (link,) = json.load(answer)["links"]
                except OSError as error:
                    raise AssertionError(str(error)) from error
                lags = {part["topic"]: part["lag"] for part in link["partitions"]}
                assert lags == {"orders": 0}, link
                return True

            wait_for(copied, within=30, every=0.2, what="orders is copied")
            worker.terminate()
            assert worker.wait(timeout=15) == 0, (tmp_path / "log").read_text()[-3000:]
