"""The rules A to H of exactly-once delivery, attacked by random schedules: workers and brokers that fail at any step.

Real workers copy between two clusters in one process and in virtual time (`world`, `virtual`); producers write, workers
are killed and frozen, requests and answers are lost or late, leaders move, logs are compacted (`schedule`). The rules
are then held against what was appended where and when (`checks`). A schedule is a seed: `python -m tests.rules SEED`
plays it again.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cache
from typing import Any

import pytest

SEEDS = "1-9"
SEEDS_WITH_GAPS = "1-4"
SEEDS_WITH_MOVES = "1-5"
TIMEOUT_S = 110

WRITING = pytest.mark.parametrize("writing", ["transactions", "auto"])
pytestmark = pytest.mark.slow


def play(seeds: str, *arguments: str, timeout: float = TIMEOUT_S) -> list[dict[str, Any]]:
    """The results of these schedules, played in a process of their own: hashes are the same in each."""
    command = [sys.executable, "-m", "tests.rules", seeds, *arguments]
    environment = {**os.environ, "PYTHONHASHSEED": "0"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode in (0, 1), done.stderr[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines()]


@cache
def played(writing: str) -> tuple[dict[str, Any], ...]:
    """All schedules of the short form."""
    plain = play(SEEDS, "--writing", writing)
    return (*plain, *play(SEEDS_WITH_GAPS, "--gaps", "--writing", writing))


def holds(rule: str, results: tuple[dict[str, Any], ...]) -> None:
    """No schedule broke it; the first that did is told in full."""
    for result in results:
        wrong = result["wrong"].get(rule)
        if wrong:
            again = f"python -m tests.rules {result['seed']} --writing {result['writing']}"
            again += " --gaps" if result.get("gaps") else ""
            again += " --moves" if result.get("moves") else ""
            again += f" --loops {result['loops']}" if "loops" in result else ""
            story = "\n".join(result["story"])
            pytest.fail(f"{again}\n" + "\n".join(wrong[:10]) + f"\n{story}", pytrace=False)


@WRITING
def test_given_random_trouble_then_everything_is_copied_in_the_end(writing: str) -> None:
    holds("end", played(writing))


@WRITING
def test_rule_a_no_record_before_its_entry_and_none_of_a_producer_that_is_not_in_the_ledger(writing: str) -> None:
    holds("A", played(writing))


@WRITING
def test_rule_b_an_entry_is_never_ahead_and_describes_one_instant(writing: str) -> None:
    holds("B", played(writing))


@WRITING
def test_rule_c_ledger_and_map_are_written_by_the_present_owner_alone(writing: str) -> None:
    holds("C", played(writing))


@WRITING
def test_rule_d_each_record_arrives_once_in_order_and_unchanged(writing: str) -> None:
    holds("D", played(writing))


@WRITING
def test_rule_e_the_offset_map_is_increasing_exact_and_invertible(writing: str) -> None:
    holds("E", played(writing))


@WRITING
def test_rule_f_what_stops_a_partition_is_in_the_ledger_before_anything_else_happens(writing: str) -> None:
    holds("F", played(writing))


@WRITING
def test_rule_g_late_writes_of_a_former_owner_are_not_in_the_log(writing: str) -> None:
    holds("G", played(writing))


@WRITING
def test_rule_h_a_target_that_lost_records_stops_the_partition_and_nobody_else_is_accused(writing: str) -> None:
    holds("H", played(writing))
    holds("false alarm", played(writing))


@WRITING
def test_given_partitions_that_move_between_lanes_then_all_rules_hold_and_each_is_in_one_lane(writing: str) -> None:
    results = tuple(play(SEEDS_WITH_MOVES, "--moves", "--writing", writing))
    for rule in ("end", *"ABCDEFGHP", "false alarm"):
        holds(rule, results)
    assert sum(result["moved"] for result in results) > 5


@pytest.mark.soak
@WRITING
@pytest.mark.parametrize("gaps", [(), ("--gaps",), ("--moves",)], ids=["", "gaps", "moves"])
def test_rules_hold_in_many_schedules(writing: str, gaps: tuple[str, ...]) -> None:
    count = int(os.environ.get("RULES_SEEDS", "400"))
    results = play(f"1000-{999 + count}", "--writing", writing, *gaps, timeout=60 + 5 * count)
    for rule in ("end", *"ABCDEFGHP", "false alarm"):
        holds(rule, tuple(results))
