"""The README's commands, run as they stand but for ports."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.examples.objects import ENVIRONMENT
from tests.support.documents import ROOT, blocks
from tests.support.kafka import die_with_parent
from tests.support.ports import free_ports

PAGE = "examples/archive/README.md"


@pytest.mark.slow
def test_given_the_readme_when_its_commands_are_run_then_the_records_are_in_the_archive_and_nothing_is_left_to_do(
    tmp_path: Path,
) -> None:
    install, script = blocks(PAGE, "sh")
    assert shlex.split(install)[:2] == ["pip", "install"]  # would change this machine
    kafka, s3 = free_ports(2)
    settings = (ROOT / "examples/archive/archive.yaml").read_text()
    (tmp_path / "archive.yaml").write_text(settings.replace(":9092", f":{kafka}").replace(":5555", f":{s3}"))
    (tmp_path / "schemas").symlink_to(ROOT / "examples/archive/schemas")
    script = script.replace("examples/archive/archive.yaml", str(tmp_path / "archive.yaml"))
    script = script.replace(":9092", f":{kafka}").replace(":5555", f":{s3}").replace("-p 5555", f"-p {s3}")
    process = subprocess.Popen(
        ["bash", "-c", "set -e\n" + script], cwd=ROOT, stdin=subprocess.DEVNULL, text=True, start_new_session=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, preexec_fn=die_with_parent,
        env={**os.environ, **ENVIRONMENT, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    lines: list[str] = []
    try:
        assert process.stdout is not None
        for (
            line
        ) in process.stdout:  # ends with the script's own end: its servers hold the pipe, so look for the last line
            lines.append(line)
            if process.poll() is not None:
                break
            if sum('"assigned"' in each for each in lines) == 6:
                break
        assert process.wait(timeout=30) == 0, "".join(lines)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
    text = "".join(lines)
    assert "date=2026-09-23/00000000000000000304.parquet: 196 records, 2 dead letters" in text
    assert text.count('"archived"') == 9, "the second run had nothing to do"
