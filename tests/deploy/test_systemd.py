"""The unit against systemd itself, as far as that goes without running it."""

from __future__ import annotations

import configparser
import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command

from replicator.cli.main import app
from tests.deploy.files import ROOT, tool

UNIT = ROOT / "deploy/systemd/replicator.service"
EXPOSED_AT_MOST = 2.0  # of 10, by systemd's own reckoning


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that exists on this machine: systemd looks for it."""
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub(r"^ExecStart=\S+", "ExecStart=/bin/true", UNIT.read_text(), flags=re.M))
    return copy


def test_given_the_unit_when_systemd_verifies_it_then_it_has_nothing_to_say(unit: Path) -> None:
    done = subprocess.run(
        [tool("systemd-analyze", "Debian's systemd"), "verify", "--man=no", str(unit)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


def test_given_the_unit_when_systemd_judges_its_rights_then_they_are_few(unit: Path) -> None:
    threshold = f"--threshold={EXPOSED_AT_MOST * 10:.0f}"
    done = subprocess.run(
        [tool("systemd-analyze", "Debian's systemd"), "security", "--offline=true", threshold, "--no-pager", str(unit)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr


def test_given_the_unit_when_its_lines_are_read_then_it_starts_again_and_reloads_on_hup() -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    service = parser["Service"]
    assert service["Restart"] == "always"
    assert service["ExecReload"] == "/bin/kill -HUP $MAINPID"
    assert service["NoNewPrivileges"] == "yes"
    assert service["ProtectSystem"] == "strict"
    users = (UNIT.parent / "replicator.sysusers.conf").read_text()
    assert f"u {service['User']} " in users
    for name in ("MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"):
        assert f"{name}=1073741824" in UNIT.read_text()


def test_given_the_unit_when_its_command_is_read_then_the_program_knows_every_word_of_it() -> None:
    command = re.search(r"^ExecStart=(.*)$", UNIT.read_text(), re.M)
    assert command is not None
    program, *words = shlex.split(command[1])
    assert program.endswith("/replicator")
    verb, context = get_command(app).commands[words[0]], None  # type: ignore[attr-defined]
    verb.make_context(words[0], words[1:], parent=context)
