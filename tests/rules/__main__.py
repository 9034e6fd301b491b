"""Run schedules by their seeds, and say what they break: `python -m tests.rules 17`, or `1-200` for many.

One line of JSON each: seed, what broke which rule, and the story if anything did (with `--story` in any case, as text).
The course of a schedule depends on Python's hash seed too, so that this process starts itself anew with a fixed one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from typing import Any

from tests.rules import loops
from tests.rules.checks import RULES
from tests.rules.schedule import Mood, run

STORY_LINES = 400


def judge(
    seed: int, writing: str, *, gaps: bool = False, moves: bool = False, rules: str = "".join(RULES)
) -> dict[str, Any]:
    """Run one schedule and hold the rules against it."""
    began = time.perf_counter()
    mood = Mood(gaps=1.0 if gaps else 0.0, moves=2.5 if moves else 0.0)
    more = {"on_gap": "continue"} if gaps else {}
    result: dict[str, Any] = {"seed": seed, "writing": writing, "gaps": gaps, "moves": moves, "wrong": {}}
    try:
        outcome = run(seed, mood, writing=writing, **more)
        result["wrong"] = {rule: wrong for rule in rules if (wrong := RULES[rule](outcome.scene))}
        alarms = [line for line in outcome.said if "somebody else writes" in line]
        if alarms:
            result["wrong"]["false alarm"] = alarms
        said = outcome.said
        result["moved"] = sum("partition comes to its lane" in line for line in said)
        result["fenced"] = sum(
            not append.transactional and append.commit is None
            for place in outcome.scene.partitions
            for append in outcome.scene.target.of(outcome.scene.copy_of(place))
        )
    except AssertionError as error:
        result["wrong"], said = {"end": [str(error).partition("\n")[0]]}, str(error).splitlines()[1:]
    result["seconds"] = round(time.perf_counter() - began, 2)
    result["story"] = said[-STORY_LINES:] if result["wrong"] else said
    return result


def judge_loops(seed: int, writing: str, clusters: int, **link: Any) -> dict[str, Any]:
    """Run one schedule of clusters that copy one another's topics."""
    began = time.perf_counter()
    result: dict[str, Any] = {"seed": seed, "writing": writing, "loops": clusters}
    try:
        result["wrong"], said = loops.run(seed, clusters, writing=writing, **link)
    except AssertionError as error:
        result["wrong"], said = {"end": [str(error).partition("\n")[0]]}, str(error).splitlines()[1:]
    result["seconds"] = round(time.perf_counter() - began, 2)
    result["story"] = said[-STORY_LINES:] if result["wrong"] else said
    return result


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.rules", description=__doc__)
    parser.add_argument("seeds", help="one seed, or FIRST-LAST")
    parser.add_argument("--writing", default="auto", choices=("auto", "transactions"))
    parser.add_argument("--gaps", action="store_true", help="the source loses records before they are copied")
    parser.add_argument("--moves", action="store_true", help="partitions are to move between lanes")
    parser.add_argument("--loops", type=int, help="so many clusters copy to one another under the same names")
    parser.add_argument("--story", action="store_true", help="print what happened")
    parser.add_argument("--rules", default="".join(RULES))
    arguments = parser.parse_args()
    first, _, last = arguments.seeds.partition("-")
    red = 0
    for seed in range(int(first), int(last or first) + 1):
        if arguments.loops:
            result = judge_loops(seed, arguments.writing, arguments.loops)
        else:
            result = judge(seed, arguments.writing, gaps=arguments.gaps, moves=arguments.moves, rules=arguments.rules)
        red += bool(result["wrong"])
        story = result.pop("story") if not result["wrong"] or arguments.story else ()
        if arguments.story:
            print("\n".join(story))
        print(json.dumps(result), flush=True)
    return 1 if red else 0


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        os.execve(
            sys.executable,
            [sys.executable, "-m", "tests.rules", *sys.argv[1:]],
            {**os.environ, "PYTHONHASHSEED": "0"},
        )
    sys.exit(main())
