from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from replicator.cli.main import app

PROPERTIES = """clusters = us, eu
us.bootstrap.servers = localhost:9092
eu.bootstrap.servers = localhost:9192
us->eu.enabled = true
tasks.max = 7
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mm2.properties"
    path.write_text(PROPERTIES)
    return path


def test_given_a_file_when_imported_then_yaml_is_printed_and_the_notes_are_on_stderr(file: Path) -> None:
    done = CliRunner().invoke(app, ["import-mm2", str(file)])
    assert done.exit_code == 0, done.output
    assert yaml.safe_load(done.stdout)["links"][0]["name"] == "us-to-eu"
    assert "line 5: tasks.max: work is divided" in done.stderr


def test_given_a_name_when_imported_then_it_is_written_once_and_not_over_what_is_there(
    file: Path, tmp_path: Path
) -> None:
    output = str(tmp_path / "replicator.yaml")
    assert CliRunner().invoke(app, ["import-mm2", str(file), "-o", output]).exit_code == 0
    again = CliRunner().invoke(app, ["import-mm2", str(file), "-o", output])
    assert (again.exit_code, "--force" in again.stderr) == (4, True)
    assert CliRunner().invoke(app, ["import-mm2", str(file), "-o", output, "--force"]).exit_code == 0


def test_given_no_file_when_imported_then_it_is_said(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["import-mm2", str(tmp_path / "none")])
    assert (done.exit_code, "can't be read" in done.stderr) == (2, True)
