"""The documents' commands are run, and their configuration is loaded: what a newcomer types must work as it stands."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from replicator.config.load import load
from tests.support.bundled import BundledCluster
from tests.support.checker import Seen
from tests.support.copying import create, produce
from tests.support.replicator import Installation, Worker
from tests.support.waiting import wait_for

ROOT = Path(__file__).parent.parent
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "DESIGN.md")
LONG_RUNNING = {("replicator", "run"), ("replicator", "demo"), ("replicator-broker", "run")}  # tested where they live


def blocks(document: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / document).read_text(), re.M | re.S)


def commands(program: str) -> list[list[str]]:
    """Every line of the documents' shell blocks that calls this program, without its comment."""
    lines = [line for document in DOCUMENTS for block in blocks(document, "sh") for line in block.splitlines()]
    split = [shlex.split(line, comments=True) for line in lines if line.startswith(f"{program} ")]
    return [words for words in split if words[0] == program]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Installation, Worker]]:
    """The README's link between two bundled clusters, with the topic that its commands name, copied."""
    directory = tmp_path_factory.mktemp("docs")
    with BundledCluster(name="us") as us, BundledCluster(name="eu") as eu:
        create(us.admin(), "orders")
        produce(us.client_config, "orders", 0, [Seen(i, b"k", b"v", (), 1_790_000_000_000) for i in range(1300)])
        link = {"name": "us-to-eu", "source": "us", "target": "eu", "delivery": "exactly_once"}
        installation = Installation(directory, {"us": us, "eu": eu}, [link])
        with installation.worker() as worker:
            worker.wait_ready()
            installation.wait_until_copied(1)
            yield installation, worker


@pytest.mark.slow
def test_given_the_documents_when_their_replicator_commands_are_run_then_they_succeed(
    rig: tuple[Installation, Worker], tmp_path: Path
) -> None:
    installation, _ = rig
    wanted = [words for words in commands("replicator") if tuple(words[:2]) not in LONG_RUNNING]
    assert len(wanted) >= 8
    for words in wanted:
        place = tmp_path if words[1] == "init" else installation.directory

        def succeeds(words: list[str] = words, place: Path = place) -> bool:
            done = subprocess.run(
                [sys.executable, "-m", "replicator.cli.main", *words[1:]],
                cwd=place, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
            assert done.returncode == 0, f"{shlex.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            return True

        wait_for(succeeds, within=20, every=0.5, what=shlex.join(words))


def test_given_the_documents_when_their_make_targets_are_looked_up_then_they_exist() -> None:
    if shutil.which("make") is None:
        pytest.skip("no make on this machine; CI has it")
    targets = {words[1] for words in commands("make")}
    assert {"demo", "test", "check"} <= targets
    for target in targets:
        done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_given_the_readme_when_its_configuration_is_loaded_then_it_needs_nothing_more(tmp_path: Path) -> None:
    examples = blocks("README.md", "yaml")
    assert examples
    for number, text in enumerate(examples):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        assert load(file).links


def test_given_the_documents_when_their_links_are_followed_then_the_files_are_there() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#:]+)\)", (ROOT / document).read_text()):
            assert (ROOT / target).exists(), f"{document} links to {target}"


def test_given_docker_compose_when_its_configuration_is_loaded_then_it_is_a_link(tmp_path: Path) -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    file = tmp_path / "replicator.yaml"
    file.write_text(compose["configs"]["replicator"]["content"])
    assert load(file).links
    assert os.path.exists(ROOT / "Dockerfile")
