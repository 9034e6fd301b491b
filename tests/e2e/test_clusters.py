"""Other shapes of clusters: three sources into one target; SCRAM over TLS on both sides."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.scenario import Scenario
from tests.support.bundled import BundledCluster
from tests.support.checker import compare_topics
from tests.support.corpus import Corpus
from tests.support.kafka import PASSWORD, KafkaCluster
from tests.support.replicator import Installation
from tests.support.waiting import wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


def test_given_three_sources_and_one_target_then_each_lands_under_its_own_alias(tmp_path: Path) -> None:
    with (
        BundledCluster(name="us") as us,
        BundledCluster(name="asia") as asia,
        BundledCluster(name="africa") as africa,
        BundledCluster(name="eu", nodes=3) as eu,
    ):
        sources = {"us": us, "asia": asia, "africa": africa}
        corpora = {alias: Corpus(cluster, prefix="fan") for alias, cluster in sources.items()}
        links = [
            {"name": f"{alias}-to-eu", "source": alias, "target": "eu", "topics": {"include": ["fan-.*"]}}
            for alias in sources
        ]
        installation = Installation(tmp_path, {**sources, "eu": eu}, links)
        for corpus in corpora.values():
            corpus.write()
        with installation.worker("--workers", "2") as worker:
            worker.wait_ready()
            for alias, corpus in corpora.items():

                def caught_up(alias: str = alias) -> bool:
                    document = json.loads(installation.run("status", "--link", f"{alias}-to-eu", "-o", "json").stdout)
                    partitions = document["links"][0]["partitions"]
                    return len(partitions) == 12 and all(p["lag"] == 0 for p in partitions)

                wait_for(caught_up, within=60, what=f"{alias} is copied")
                verdict = compare_topics(
                    sources[alias].client_config, eu.client_config, corpus.topics, rename=alias + ".{}"
                )
                assert verdict.problems == []
                assert verdict.records > 400
            worker.terminate()
        assert installation.run("verify", "-o", "json").returncode == 0


@pytest.mark.kafka
def test_given_scram_over_tls_on_both_sides_then_the_mix_is_copied_and_no_secret_is_shown(tmp_path: Path) -> None:
    with (
        KafkaCluster(name="source", security="scram_tls") as source,
        KafkaCluster(name="target", security="scram_tls") as target,
    ):
        scenario = Scenario(source, target, tmp_path, "tls")
        scenario.corpus.write()
        with scenario.installation.worker() as worker:
            worker.wait_ready()
            scenario.wait_until_copied()
            scenario.judge()
            assert scenario.installation.run("verify", "-o", "json").returncode == 0
            check = scenario.installation.run("check")
            assert check.returncode == 0, check.stdout + check.stderr
            shown = worker.log() + check.stdout + check.stderr + worker.get("/v1/status")[1] + worker.get("/metrics")[1]
            assert PASSWORD not in shown
            worker.terminate()


@pytest.mark.kafka
@pytest.mark.soak
def test_given_sasl_plain_then_the_mix_is_copied_and_a_wrong_password_is_told(tmp_path: Path) -> None:
    with (
        KafkaCluster(name="source", security="plain") as source,
        KafkaCluster(name="target") as target,
    ):
        scenario = Scenario(source, target, tmp_path, "plain")
        scenario.corpus.write()
        with scenario.installation.worker() as worker:
            worker.wait_ready()
            scenario.wait_until_copied()
            scenario.judge()
        wrong = scenario.installation.file.read_text().replace(PASSWORD, "wrong-one")
        scenario.installation.file.write_text(wrong)
        for verb in ("check", "verify"):
            done = scenario.installation.run(verb)
            said = done.stdout + done.stderr
            assert done.returncode == 3, said
            assert "us" in said
            assert "uthentication" in said
            assert "wrong-one" not in said
            assert "Traceback" not in said
