"""MirrorMaker 2 itself, and its Java client, from Maven's jars."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from bench.jars import mirror_jars
from tests.support.javatools import run_command, small_jvm
from tests.support.kafka import die_with_parent

_ANSWERS = Path(__file__).with_name("MirrorAnswers.java")


def mirror_client(
    bootstrap: str, *aliases: str, group: str = "-", policy: str = "DefaultReplicationPolicy", separator: str = "."
) -> dict[str, Any]:
    """What `MirrorClient` and `RemoteClusterUtils` answer about a cluster; offsets are those of the first alias."""
    command = [*small_jvm(mirror_jars()), str(_ANSWERS), bootstrap, policy, separator, group, *aliases]
    found: dict[str, Any] = json.loads(run_command(command).splitlines()[-1])
    return found


class MirrorMaker:
    """A dedicated MirrorMaker with these properties, a context manager that kills what is left of it."""

    def __init__(self, directory: Path, properties: str) -> None:
        self.file = directory / "mm2.properties"
        self.file.write_text(properties)
        self._log = directory / "mm2.log"
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        command = [
            *small_jvm(mirror_jars(), heap="384m"),
            "org.apache.kafka.connect.mirror.MirrorMaker",
            str(self.file),
        ]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.file.parent,
                preexec_fn=die_with_parent if threading.current_thread() is threading.main_thread() else None,
            )
        return self

    def end(self, number: signal.Signals) -> None:
        """End it by this signal, and wait until it has."""
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait(timeout=60)

    def log(self) -> str:
        """The end of what it has printed."""
        return self._log.read_text(errors="replace")[-4000:]

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(timeout=20)
        if error is not None:
            print(f"--- end of MirrorMaker's log\n{self.log()}")
