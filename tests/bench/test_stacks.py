"""Profiles: what is counted where, and what is shown beside what."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from bench.flames import flame_graph
from bench.stacks import Spent, by_function, folded, parse, report, spread

STACKS = parse("run (a.py);send (b.py) 15\nrun (a.py);read (c.py) 5\nrun (a.py) 1\n")


def test_given_samples_when_parsed_then_they_are_by_stack() -> None:
    assert STACKS[("run (a.py)", "send (b.py)")] == 15
    assert parse(folded(STACKS)) == STACKS
    assert parse(" 5\n") == {("(outside Python)",): 5.0}


@pytest.mark.parametrize("line", ["", "run;send", "run many"])
def test_given_something_else_when_parsed_then_it_is_refused(line: str) -> None:
    with pytest.raises(ValueError):
        parse(f"{line}\nrun 1\n")


def test_given_samples_when_spread_then_waiting_and_the_frames_below_the_loop_are_left_out() -> None:
    loop = "main (m.py);BaseEventLoop._run_once (asyncio/base_events.py:1)"
    samples = (
        f"{loop};Handle._run (e.py);send (b.py) 30\n{loop} 10\n{loop};EpollSelector.select (selectors.py:451) 500\n"
        "Thread.run (threading.py:9);_worker (concurrent/futures/thread.py:69) 900\nThread.run (threading.py:9) 10\n"
    )
    assert spread(parse(samples), 1000.0) == {
        ("Handle._run (e.py)", "send (b.py)"): 600.0,
        ("BaseEventLoop._run_once (asyncio/base_events.py:1)",): 200.0,
        ("Thread.run (threading.py:9)",): 200.0,
    }


def test_given_threads_that_only_wait_when_spread_then_it_says_so() -> None:
    with pytest.raises(ValueError, match="no sample"):
        spread(parse("run;Condition.wait (threading.py:295) 7\n"), 1000.0)


def test_given_stacks_when_summed_then_callers_have_the_time_of_what_they_call() -> None:
    assert by_function(STACKS)["run (a.py)"] == Spent(1.0, 21.0)
    assert by_function(STACKS)["read (c.py)"] == Spent(5.0, 5.0)


def test_given_recursion_when_summed_then_a_function_is_counted_once_per_sample() -> None:
    assert by_function(parse("walk;walk;walk 4\n"))["walk"] == Spent(4.0, 4.0)


def test_given_an_earlier_profile_when_reported_then_changes_and_what_is_gone_are_shown() -> None:
    lines = report(STACKS, parse("run (a.py);send (b.py) 20\nrun (a.py);copy (d.py) 8\n")).splitlines()
    own = lines[: lines.index("")]
    assert own[1].split() == ["15.0", "71.4", "20.0", "-5.0", "send", "(b.py)"]
    assert ["0.0", "0.0", "8.0", "-8.0", "copy", "(d.py)"] in [line.split() for line in own]
    assert own[-1].split() == ["21.0", "100.0", "28.0", "-7.0", "everything"]


def test_given_nothing_earlier_when_reported_then_the_dearest_is_first() -> None:
    lines = [line.split() for line in report(STACKS).splitlines()]
    assert lines[1] == ["15.0", "71.4", "send", "(b.py)"]
    assert lines[lines.index([]) + 2] == ["21.0", "100.0", "run", "(a.py)"]


def test_given_stacks_when_drawn_then_the_picture_is_well_formed_and_widths_are_shares() -> None:
    picture = ElementTree.fromstring(flame_graph(STACKS | {("<module> & co",): 21.0}, "a < b"))
    boxes = {
        group[0].text.partition(":")[0]: float(group[1].attrib["width"])
        for group in picture.iter("{http://www.w3.org/2000/svg}g")
        if group[0].text
    }
    assert boxes["run (a.py)"] == pytest.approx(700, abs=0.1)
    assert boxes["send (b.py)"] == pytest.approx(500, abs=0.1)
    assert boxes["<module> & co"] == pytest.approx(700, abs=0.1)


def test_given_no_samples_when_drawn_then_there_is_a_picture_still() -> None:
    assert ElementTree.fromstring(flame_graph({}, "nothing")).tag.endswith("svg")
