"""The runbooks, followed to the letter: a planned move and home again, a drill, a disaster and home again."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from replicator.cli.main import app
from replicator.config.load import load
from tests.support.bundled import BundledCluster
from tests.support.checker import Seen, read_partition
from tests.support.copying import create, produce
from tests.support.documents import ROOT, RUNBOOKS, blocks, shell_lines
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

LINKS = [
    {"name": "us-to-eu", "source": "us", "target": "eu", "lanes": 2, "sync": {"every": 1}},
    {"name": "eu-to-us", "reverse_of": "us-to-eu"},
]
EXIT_CODES = {("ready",): (0, 1), ("plan",): (0, 1)}


def rows(first: int, count: int) -> list[Seen]:
    return [Seen(i, b"k", b"v%d" % i, (), 1_790_000_000_000 + i) for i in range(first, first + count)]


def follow(page: str, us: BundledCluster) -> None:
    """Run its commands, one after the other; in a disaster the source is away until there is something to restore."""
    for words in shell_lines(f"docs/runbooks/{page}.md"):
        assert words[0] == "replicator"
        if page == "disaster" and words[1] == "failover" and "--dry-run" in words:
            us.kill_node(0)
        if page == "disaster" and words[1] == "restore" and "--dry-run" in words:
            us.start_node(0)

        def done(words: list[str] = words) -> bool:
            result = CliRunner().invoke(app, words[1:], input="y\n")
            allowed = EXIT_CODES.get((words[1],), (0,))
            assert result.exit_code in allowed, f"{' '.join(words)}: {result.exit_code}\n{result.output}"
            return True

        wait_for(done, within=40, every=1, what=" ".join(words))


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.timeout(600)
def test_given_the_runbooks_when_they_are_followed_then_each_ends_where_it_says_and_both_sides_are_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with BundledCluster(name="us", persistent=True) as us, BundledCluster(name="eu", persistent=True) as eu:
        create(us.admin(), "orders")
        produce(us.client_config, "orders", 0, rows(0, 50))
        installation = Installation(tmp_path, {"us": us, "eu": eu}, LINKS)
        monkeypatch.chdir(tmp_path)
        written = 50
        with installation.worker() as worker:
            worker.wait_ready()
            installation.wait_until_copied(1, link="us-to-eu")
            for page, where in (
                ("upgrade", "us"),
                ("migration-from-msk-replicator", "us"),
                ("planned-move", "eu"),
                ("failback", "us"),
                ("drill", "us"),
                ("disaster", "eu"),
                ("failback", "us"),
            ):
                follow(page, us)
                cluster, topic = (us, "orders") if where == "us" else (eu, "us.orders")
                produce(cluster.client_config, topic, 0, rows(written, 10))
                written += 10

                def same(written: int = written) -> bool:
                    for cluster, topic in ((us, "orders"), (eu, "us.orders")):
                        held = [record.value for record in read_partition(cluster.client_config, topic, 0)]
                        assert held == [b"v%d" % i for i in range(written)], f"{topic}: {len(held)} of {written}"
                    return True

                wait_for(same, within=60, every=0.5, what=f"after {page} both have everything")
        assert (tmp_path / "drill.html").exists()


def test_given_the_runbooks_then_their_configuration_can_be_loaded_and_their_links_lead_somewhere(
    tmp_path: Path,
) -> None:
    assert len(RUNBOOKS) == 6
    for number, text in enumerate(block for page in RUNBOOKS for block in blocks(page, "yaml")):
        file = tmp_path / f"{number}.yaml"
        file.write_text(text)
        assert load(file).links
    for page in RUNBOOKS:
        text = (ROOT / page).read_text()
        targets = [part.split(")")[0] for part in text.split("](")[1:]]
        assert targets or page.endswith("planned-move.md")
        for target in targets:
            assert ((ROOT / page).parent / target).exists(), f"{page} leads to {target}"
