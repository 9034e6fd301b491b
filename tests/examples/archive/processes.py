"""The archive as a process of its own, which can be killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from examples.archive import sample
from tests.examples.objects import ENVIRONMENT, ObjectStore
from tests.support.bundled import BundledCluster
from tests.support.documents import ROOT
from tests.support.kafka import die_with_parent

SCHEMAS = Path(sample.__file__).parent / "schemas"


class ArchiveProcess:
    """`python -m examples.archive` with these settings."""

    def __init__(self, directory: Path, cluster: BundledCluster, lake: ObjectStore, **settings: Any) -> None:
        self._file = directory / "archive.yaml"
        self._log = directory / "archive.log"
        self._process: subprocess.Popen[bytes] | None = None
        kafka = {
            "bootstrap.servers": cluster.bootstrap,
            "session.timeout.ms": "6000",
            "heartbeat.interval.ms": "300",
            "fetch.error.backoff.ms": "100",
        }
        store = lake.bucket.model_dump()
        text = {"kafka": kafka, "schemas": str(SCHEMAS), "store": store, **settings}
        self._file.write_text(yaml.safe_dump(text))

    def start(self, *arguments: str) -> None:
        """Start it, in the background."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "examples.archive", str(self._file), *arguments],
                cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
                env={**os.environ, **ENVIRONMENT}, preexec_fn=die_with_parent,
            )  # fmt: skip

    def once(self) -> int:
        """Archive what is there; the exit code."""
        self.start("--once")
        return self.wait()

    def kill(self) -> None:
        """kill -9."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=20)

    def terminate(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.wait()

    def wait(self) -> int:
        """Until it ends by itself; the exit code."""
        assert self._process is not None
        return self._process.wait(timeout=60)

    @property
    def resident_bytes(self) -> int:
        """The process's peak of resident memory (Linux)."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    @property
    def log(self) -> str:
        """What it has said."""
        return self._log.read_text() if self._log.exists() else ""
