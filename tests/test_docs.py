"""The documents' commands are run, and their configuration is loaded: what a newcomer types must work as it stands."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from replicator.cli.main import app
from replicator.config.load import load
from replicator.credentials.secrets_manager import STORE
from tests.deploy.files import tool
from tests.support.bundled import BundledCluster
from tests.support.checker import Seen
from tests.support.copying import create, produce
from tests.support.documents import DOCUMENTS, ROOT, Everything, blocks, commands, make_files, shell_lines
from tests.support.replicator import Installation, Worker
from tests.support.waiting import wait_for

LONG_RUNNING = {("replicator", "run"), ("replicator", "demo"), ("replicator-broker", "run")}  # tested where they live
RUN = {"replicator", "replicator-broker", "make", "curl"}
NOT_RUN = {  # with why
    **dict.fromkeys(("docker", "kubectl"), "no engine here: tests/deploy holds the files against their schemas"),
    **dict.fromkeys(
        ("systemctl", "systemd-sysusers", "journalctl"), "no systemd in charge: tests/deploy verifies the unit"
    ),
    **dict.fromkeys(("pip", "python3", "/opt/replicator/bin/pip", "install"), "would change this machine"),
    **dict.fromkeys(("kafka-console-producer.sh", "kafka-console-consumer.sh"), "tests/broker/test_clients_java.py"),
    "kafka-acls.sh": "tests/test_docs_rights.py grants what they say",
    "aws": "tests/test_docs_consumers.py has their parameters checked",
}
LINKS = """\
clusters: {us: {bootstrap_servers: "us:9092"}, eu: {bootstrap_servers: "eu:9092"}}
links: [{name: us-to-eu, source: us, target: eu, topics: {include: [orders]}}]
"""
MIGRATION = "docs/migration-from-mm2.md"  # has clusters of its own: tests/test_docs_migration.py


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
    rig: tuple[Installation, Worker], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installation, worker = rig
    found = dict.fromkeys(
        tuple(words) for words in commands("replicator", leave_out=(MIGRATION,))
    )  # each once, in order
    wanted = [words for words in found if words[:2] not in LONG_RUNNING]
    assert len(wanted) >= 8
    for words in wanted:
        monkeypatch.chdir(tmp_path if words[1] == "init" else installation.directory)
        here = [word.replace("127.0.0.1:8080", worker.address) for word in words[1:]]
        here = ["replicator.yaml" if word == "/etc/replicator/replicator.yaml" else word for word in here]

        def succeeds(words: tuple[str, ...] = words, here: list[str] = here) -> bool:
            done = CliRunner().invoke(app, here)
            assert done.exit_code == 0, f"{' '.join(words)}: {done.exit_code}\n{done.output}\n{done.exception!r}"
            return True

        wait_for(succeeds, within=20, every=0.5, what=" ".join(words))


@pytest.mark.slow
def test_given_the_documents_when_their_requests_are_made_then_they_are_answered(
    rig: tuple[Installation, Worker],
) -> None:
    _, worker = rig
    wanted = {tuple(words) for words in commands("curl")}
    assert any(words[-1].endswith("/readyz") for words in wanted)
    for words in wanted:
        line = [word.replace("127.0.0.1:8080", worker.address) for word in words[1:]]
        done = subprocess.run([tool("curl", "curl"), *line], capture_output=True, text=True, timeout=60, check=False)
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr}"
        assert done.stdout


def test_given_the_documents_when_their_commands_are_sorted_then_each_is_run_or_it_is_said_why_not() -> None:
    for document in DOCUMENTS:
        for words in shell_lines(document):
            assert words[0] in RUN | NOT_RUN.keys(), f"{document}: {' '.join(words)}"
            for word in words:
                if re.match(r"deploy/\S+$", word):
                    assert (ROOT / word).exists(), f"{document}: {' '.join(words)}"


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


def test_given_the_documents_when_their_configuration_is_loaded_then_it_is_right_but_for_secrets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(STORE, "read", lambda reference: '{"username": "somebody", "password": "something"}')
    examples = [(name, text) for name in DOCUMENTS if name.startswith("docs/") for text in blocks(name, "yaml")]
    links = [(name, text) for name, text in examples if "links:" in text]
    parts = [(name, text) for name, text in examples if "links:" not in text]
    links += [(name, LINKS + text) for name, text in parts if text.startswith("service:")]
    others = [yaml.safe_load(text) for _, text in parts if not text.startswith("service:")]
    assert links
    assert all(set(other) == {"scrape_configs"} for other in others)
    for number, (name, text) in enumerate(links):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        make_files(text, tmp_path)
        assert load(file, environ=Everything()).links, name


def test_given_the_documents_when_their_links_are_followed_then_the_files_and_headings_are_there() -> None:
    for document in DOCUMENTS:
        folder = (ROOT / document).parent
        for target, anchor in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", (ROOT / document).read_text()):
            file = folder / target if target else ROOT / document
            assert file.exists(), f"{document} links to {target}"
            if anchor:
                headings = re.findall(r"^#+ (.*)$", file.read_text(), re.M)
                known = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
                assert anchor in known, f"{document} links to {target}#{anchor}"
