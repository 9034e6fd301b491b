"""Moving over and coming home: every record is on both sides once, and the group continues at exactly the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.homecoming import PARTITIONS, Homecoming
from tests.e2e.pairs import BUNDLED, LONG_BUNDLED, LONG_KAFKA, on
from tests.e2e.rig import Pair, records
from tests.support.checker import read_partition
from tests.support.copying import create, produce

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

SIZE = 1000  # bytes of a record's value, about


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.soak)])
@pytest.mark.parametrize("naming", ["prefix", pytest.param("identical", marks=pytest.mark.soak)])
@on(BUNDLED, LONG_KAFKA)
def test_given_a_planned_move_when_it_goes_there_and_back_then_all_is_on_both_sides_once_and_groups_go_on_exactly(
    pair: Pair, tmp_path: Path, naming: str, times: int
) -> None:
    home = Homecoming(dict(zip(("us", "eu"), pair, strict=True)), tmp_path, naming)
    with home.installation.worker() as worker:
        worker.wait_ready()
        home.write("us", 300, size=SIZE)
        home.consume("us", 120)
        home.installation.wait_until_copied(PARTITIONS, link=home.there)
        home.wait_group("eu")
        assert home.states(home.back) == {"ASLEEP"}
        assert "promote it first" in home.refused("reverse", home.there)
        for _ in range(times):
            home.promote(home.there)
            home.write("eu", 60, size=SIZE)
            home.consume("eu", 100)
            before = home.copied(worker, home.back)
            found = home.do("reverse", home.there)
            assert found["link"] == home.back
            assert found["waiting"] == 0
            home.write("eu", 40, size=SIZE)
            home.wait_same()
            records_now, bytes_now = home.copied(worker, home.back)
            assert records_now - before[0] == 100
            assert 100 * SIZE < bytes_now - before[1] < 150 * SIZE  # batches have headers
            home.wait_group("us")
            home.promote(home.back)
            home.write("us", 30)
            home.consume("us", 90)
            assert home.do("reverse", home.back)["link"] == home.there
            home.write("us", 20)
            home.wait_same()
            home.wait_group("eu")
            assert home.states(home.there) == {"COPYING"}
            assert home.states(home.back) == {"PROMOTED"}
        home.consume("us")
        assert home.seen == home.written


@on(LONG_BUNDLED, LONG_KAFKA)
def test_given_a_command_that_is_killed_half_way_and_one_that_comes_second_then_it_is_finished_or_told_who_is_first(
    pair: Pair, tmp_path: Path
) -> None:
    home = Homecoming(dict(zip(("us", "eu"), pair, strict=True)), tmp_path, "prefix")
    command = [sys.executable, "-m", "replicator.cli.main", "reverse", "-c", str(home.installation.file)]
    command += ["--link", home.there, "--all", "--yes"]
    with home.installation.worker() as worker:
        worker.wait_ready()
        home.write("us", 50)
        home.installation.wait_until_copied(PARTITIONS, link=home.there)
        home.promote(home.there)
        home.write("eu", 30)
        unbuffered = {**os.environ, "PYTHONUNBUFFERED": "1"}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=unbuffered) as one:
            assert one.stdout is not None
            for line in one.stdout:
                if "where each partition begins" in line:
                    os.kill(one.pid, signal.SIGSTOP)
                    break
            second = home.refused("reverse", home.there)
            assert "`reverse` since" in second
            assert f"process {one.pid} on" in second
            assert home.states(home.back) == {"ASLEEP"}
            one.kill()
        home.do("reverse", home.there)
        home.wait_same()
        again = home.do("reverse", home.there)
        assert again["waiting"] == 0
        home.write("eu", 10)
        home.wait_same()
        assert home.copied(worker, home.back)[0] == 40


@on(LONG_BUNDLED, LONG_KAFKA)
def test_given_a_pair_that_copies_both_ways_when_one_of_them_moves_and_returns_then_the_other_goes_on_all_the_time(
    pair: Pair, tmp_path: Path
) -> None:
    own = f"own-{tmp_path.name[-4:]}"
    other: dict[str, Any] = {
        "name": f"{own}-west",
        "source": "eu",
        "target": "us",
        "lanes": 2,
        "topics": {"include": [own]},
    }
    home = Homecoming(dict(zip(("us", "eu"), pair, strict=True)), tmp_path, "prefix", other)
    create(pair[1].admin(), own)
    written = records(20)
    produce(pair[1].client_config, own, 0, written)
    with home.installation.worker() as worker:
        worker.wait_ready()
        home.write("us", 60)
        home.consume("us", 20)
        home.installation.wait_until_copied(PARTITIONS, link=home.there)
        for link, where in ((home.there, "eu"), (home.back, "us")):
            home.promote(link)
            home.write(where, 40)
            home.consume(where, 30)
            home.do("reverse", link)
            home.wait_same()
            home.wait_group("us" if where == "eu" else "eu")
            more = records(10, start=len(written))
            produce(pair[1].client_config, own, 0, more)
            written = [*written, *more]
            home.installation.wait_until_copied(1, link=other["name"])
            copy = read_partition(pair[0].client_config, f"eu.{own}", 0)
            assert [each.content() for each in copy] == [each.content() for each in written]
            assert home.states(other["name"]) == {"COPYING"}
        home.consume("us")
        assert home.seen == home.written
