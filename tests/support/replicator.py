"""Replicator as its users run it: its own YAML file, its own processes, its command line, its HTTP address."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import yaml
from typer.testing import CliRunner

from replicator.cli.main import app
from replicator.config.load import load
from replicator.errors import ReplicatorError
from replicator.views.table import read_link
from tests.support.kafka import die_with_parent
from tests.support.ports import free_ports
from tests.support.waiting import wait_for

_PROGRAMS = frozenset({"run", "drill", "demo"})


class Cluster(Protocol):
    """What the YAML says of a cluster."""

    @property
    def bootstrap(self) -> str: ...

    @property
    def security(self) -> dict[str, str]: ...


class Installation:
    """A configuration: named clusters and the links between them. Makes workers, and runs the other verbs.

    Links send heartbeats and checkpoints only if they say so: a topic that always grows is never copied to its end.
    """

    def __init__(self, directory: Path, clusters: Mapping[str, Cluster], links: Sequence[Mapping[str, Any]]) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._clusters = clusters
        self._links = _quiet(links)
        self._count = 0
        self._written: dict[str, str] = {}  # file name -> HTTP address
        self.file = self.write("replicator.yaml")

    def write(self, name: str, http: str | None = None) -> Path:
        """A configuration file of that name; each worker has its own for its own HTTP address."""
        document = {
            "clusters": {
                alias: {"bootstrap_servers": cluster.bootstrap, "security": cluster.security}
                for alias, cluster in self._clusters.items()
            },
            "links": self._links,
            "service": {"http": http or f"127.0.0.1:{free_ports(1)[0]}"},
        }
        self._written[name] = document["service"]["http"]
        path = self.directory / name
        path.write_text(yaml.safe_dump(document, sort_keys=False))
        return path

    def configure(self, links: Sequence[Mapping[str, Any]], *, only: str | None = None) -> None:
        """Other links from now on, in all files written so far, or in that of the worker `only`."""
        self._links = _quiet(links)
        for name, http in list(self._written.items()):
            if only is None or name == f"{only}.yaml":
                self.write(name, http)

    def worker(self, *arguments: str) -> Worker:
        """One `replicator run`, not started yet: use it as a context manager."""
        self._count += 1
        return Worker(self, f"worker{self._count}", arguments)

    def run(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """`replicator VERB -c FILE …` to its end.

        In this process where that makes no difference: a program that starts takes a second of CPU, and the suite runs
        hundreds of them. In others as a program: from several threads at once, and what has workers of its own.
        """
        verb, *rest = arguments
        command = [verb, "-c", str(self.file), *rest]
        if verb not in _PROGRAMS and threading.current_thread() is threading.main_thread():
            done = CliRunner().invoke(app, command)
            if done.exception is not None and not isinstance(done.exception, SystemExit):
                raise done.exception
            return subprocess.CompletedProcess(command, done.exit_code, done.stdout, done.stderr)
        return subprocess.run(
            [sys.executable, "-m", "replicator.cli.main", *command],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def status(self, link: str | None = None) -> dict[tuple[str, int], dict[str, Any]]:
        """As `replicator status -o json`: partitions by (topic, partition), of all links if these share no topics.

        Read in this process: a program that starts takes a second of CPU, and tests look at it again and again.
        """
        try:
            settings = load(self.file)
            names = [link] if link else [each.name for each in settings.links]
            found = [read_link(settings, settings.link(name)) for name in names]
        except ReplicatorError as error:
            raise AssertionError(f"status ends with {error.exit_code}: {error}") from error
        return {(p["topic"], p["partition"]): p for each in found for p in each["partitions"]}

    def wait_until_copied(
        self, partitions: int, *, within: float = 60, link: str | None = None
    ) -> dict[tuple[str, int], dict[str, Any]]:
        """Wait until that many partitions are copied to their ends, as `status` says; return the status."""
        last: dict[tuple[str, int], dict[str, Any]] = {}

        def copied() -> bool:
            last.clear()
            last.update(self.status(link))
            behind = {where: (p["state"], p["reason"], p["lag"]) for where, p in last.items() if p["lag"] != 0}
            assert not behind, f"not copied: {behind}"
            assert len(last) == partitions, f"{len(last)} of {partitions} partitions known: {sorted(last)}"
            return True

        wait_for(copied, within=within, every=0.3, what="everything is copied")
        return last


class Worker:
    """One `replicator run` process, or a parent with several; a context manager that kills what is left of it."""

    def __init__(self, installation: Installation, name: str, arguments: Sequence[str]) -> None:
        self.name = name
        self.address = f"127.0.0.1:{free_ports(1)[0]}"
        file = installation.write(f"{name}.yaml", self.address)
        self._command = [sys.executable, "-m", "replicator.cli.main", "run", "-c", str(file), *arguments]
        self._log = installation.directory / f"{name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Start it; doesn't wait."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
                preexec_fn=die_with_parent if threading.current_thread() is threading.main_thread() else None,
            )
        return self

    def wait_ready(self, *, within: float = 60) -> Self:
        """Wait until /readyz answers 200."""

        def ready() -> bool:
            process = self._process
            assert process is not None
            if process.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {process.returncode}:\n{self.log()[-3000:]}")
            code, body = self.get("/readyz")
            assert code == 200, f"/readyz {code}: {body[:500]}"
            return True

        try:
            wait_for(ready, within=within, what=f"{self.name} is ready")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()[-3000:]}") from None
        return self

    def get(self, path: str) -> tuple[int, str]:
        """Status code and body; code 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=5) as response:
                return response.status, response.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    @property
    def pid(self) -> int:
        """Of the process, or of the parent."""
        assert self._process is not None
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it is."""
        return self._process is not None and self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """None while it runs."""
        return self._process.poll() if self._process else None

    def kill(self) -> None:
        """kill -9."""
        assert self._process is not None
        self._process.kill()
        self._process.wait(timeout=10)

    def hang_up(self) -> None:
        """SIGHUP."""
        os.kill(self.pid, signal.SIGHUP)

    def freeze(self) -> None:
        """SIGSTOP."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def terminate(self, *, within: float = 5.0) -> float:
        """SIGTERM; how many seconds it took to end, with exit code 0; AssertionError if it took longer."""
        assert self._process is not None
        began = time.monotonic()
        self._process.terminate()
        try:
            code = self._process.wait(timeout=within)
        except subprocess.TimeoutExpired:
            raise AssertionError(
                f"{self.name} didn't end within {within:g} s of SIGTERM:\n{self.log()[-3000:]}"
            ) from None
        took = time.monotonic() - began
        too_early = code == -signal.SIGTERM and not self.log()  # it hadn't come to setting up anything
        assert code == 0 or too_early, f"{self.name} ended with {code}:\n{self.log()[-3000:]}"
        return took

    def log(self) -> str:
        """What it has printed."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)  # the session it leads: its children too
        self._process.wait(timeout=10)
        if error is not None:
            print(f"--- end of the log of {self.name}\n{self.log()[-4000:]}")


def _quiet(links: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**link, "sync": {"heartbeats": False, "checkpoints": False, **link.get("sync", {})}} for link in links]
