"""The table: medians, ratios, and what is said where something is missing."""

from __future__ import annotations

from bench.copying import Copy
from bench.latency import Latency
from bench.loads import LOADS, Written
from bench.ondisk import OnDisk
from bench.recovery import Recovery
from bench.table import Results, render

LOAD = LOADS[0].of(1000)


def copied(cpu: float | None, speed: float | None, *, rss: float = 100.0, surplus: int = 0) -> Copy:
    return Copy(speed, speed and speed / 1000, cpu, 9.9, rss, 1.5, surplus)


def results(copies: dict[str, list[Copy]]) -> Results:
    written = Written(LOAD, (500, 500), (b"x" * 1024,), OnDisk(1000, 10, 650_000))
    return Results(
        {"MM2 tuned": "MM2's", "Go relay": "Go's"}, [written], {("1k", name): of for name, of in copies.items()}
    )


def rows(text: str) -> dict[str, list[str]]:
    """Cells by program; the headings' by "program"."""
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    return {row[1] if row[0] in ("load", LOAD.title) else row[0]: row for row in lines}


def test_given_three_rounds_when_rendered_then_there_are_medians_and_the_highest_memory() -> None:
    rounds = [copied(2.0, 100_000, rss=90), copied(9.0, 300_000, rss=120), copied(3.0, 200_000, rss=110)]
    row = rows(render(results({"ours": rounds})))["ours"]
    assert row[2:8] == ["3.00", "200", "200,000", "9.9", "120", "1.5"]


def test_given_two_yardsticks_when_rendered_then_there_are_ratios_to_both() -> None:
    table = rows(
        render(
            results(
                {
                    "ours": [copied(1.0, 400_000)],
                    "MM2 tuned": [copied(8.0, 100_000)],
                    "Go relay": [copied(0.5, 800_000)],
                }
            )
        )
    )
    assert table["program"][8:] == ["CPU of MM2's", "speed of MM2's", "CPU of Go's", "speed of Go's"]
    assert table["ours"][8:] == ["1/8.0", "4.0 x", "2.0 x", "0.5 x"]
    assert table["MM2 tuned"][8:] == ["", "", "16.0 x", "0.1 x"]


def test_given_no_yardstick_when_rendered_then_there_are_no_ratios() -> None:
    assert rows(render(results({"ours": [copied(1.0, 1000)]})))["program"][-1] == "first record s"


def test_given_a_load_copied_too_fast_to_rate_when_rendered_then_it_says_so_instead_of_a_figure() -> None:
    table = rows(render(results({"ours": [copied(None, None)], "MM2 tuned": [copied(8.0, 1000)]})))
    assert table["ours"][2:5] == ["–", "–", "–"]
    assert table["ours"][8:] == ["–", "–"]


def test_given_wrong_counts_when_rendered_then_they_are_problems_in_words() -> None:
    found = results({"ours": [copied(1.0, 1000, surplus=3), copied(1.0, 1000, surplus=-2)]})
    found.latencies["ours", 500] = [Latency(10, 9, 1.0, 2.0)]
    found.recoveries["ours"] = Recovery(2.0, 60, 4, lost=1, twice=0)
    assert found.problems() == [
        "ours, 1k: 3 records too many",
        "ours, 1k: 2 records missing",
        "ours, latency at 500/s: 9 of 10 records received",
        "ours, recovery: 1 records lost",
    ]
    assert "- **ours, 1k: 3 records too many**" in render(found)


def test_given_latencies_and_recoveries_when_rendered_then_each_program_has_one_row() -> None:
    found = Results({})
    for rate in (500, 2000):
        found.latencies["ours", rate] = [Latency(9, 9, p50, p50 * 10) for p50 in (1.0, 3.0, 2.0)]
    found.recoveries["ours"] = Recovery(6.28, 60, 4, lost=0, twice=0)
    found.recoveries["MM2 tuned"] = Recovery(None, 60, 5, lost=None, twice=None)
    table = rows(render(found))
    assert table["ours"][1:] == ["2.0", "20.0", "2.0", "20.0", "6.3", "4", "0", "0"]
    assert table["MM2 tuned"][1:] == ["–", "–", "–", "–", ">60", "5", "–", "–"]
