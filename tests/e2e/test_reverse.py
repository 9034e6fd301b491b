"""Moving over and coming home: every record is on both sides once, and the group continues at exactly the next one."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.homecoming import PARTITIONS, Homecoming
from tests.e2e.pairs import KAFKA, LONG_BUNDLED, on
from tests.e2e.rig import Pair

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.mark.parametrize("times", [1, pytest.param(2, marks=pytest.mark.soak)])
@pytest.mark.parametrize("naming", ["prefix", "identical"])
@on(LONG_BUNDLED, KAFKA)
def test_given_a_planned_move_when_it_goes_there_and_back_then_all_is_on_both_sides_once_and_groups_go_on_exactly(
    pair: Pair, tmp_path: Path, naming: str, times: int
) -> None:
    home = Homecoming(dict(zip(("us", "eu"), pair, strict=True)), tmp_path, naming)
    with home.installation.worker() as worker:
        worker.wait_ready()
        home.write("us", 300)
        home.consume("us", 120)
        home.installation.wait_until_copied(PARTITIONS, link=home.there)
        home.wait_group("eu")
        assert home.states(home.back) == {"ASLEEP"}
        assert "promote it first" in home.refused("reverse", home.there)
        for _ in range(times):
            home.promote(home.there)
            home.write("eu", 60)
            home.consume("eu", 100)
            before = home.copied(worker, home.back)
            found = home.do("reverse", home.there)
            assert found["link"] == home.back
            assert found["waiting"] == 0
            home.write("eu", 40)
            home.wait_same()
            assert home.copied(worker, home.back) - before == 100
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
