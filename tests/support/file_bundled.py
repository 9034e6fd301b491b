"""`replicator-broker run --file` as its own process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.kafka import die_with_parent

_STOP_S = 15


class FileBundled:
    """A cluster of a cluster file; a context manager. `bootstrap` has the addresses by listener.

    What it logs is in `log`, beside the file.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.log = file.with_suffix(".log")
        self.bootstrap: dict[str, str] = {}
        self.control = ""

    def __enter__(self) -> Self:
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "broker.cli", "run", "--file", str(self.file), "--verbose"]
            self._process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=log, text=True, preexec_fn=die_with_parent
            )
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(_STOP_S)
            raise AssertionError(f"the cluster didn't start:\n{self.log.read_text()[-3000:]}")
        ready = json.loads(line)
        self.bootstrap, self.control = ready["bootstrap"], ready.get("control", "")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.communicate(timeout=_STOP_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
