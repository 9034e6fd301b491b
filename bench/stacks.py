"""Sampled call stacks: what py-spy counted, as CPU time per gigabyte, so that profiles of two runs can be compared."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

Stacks = Mapping[tuple[str, ...], float]  # outermost function first: milliseconds of CPU time per gigabyte copied

_TOP = 30
# Threads in these only wait, whatever the sampler thinks; what they cost is spread over everything else.
_WAITS = (
    *("Selector.select (selectors.py", "Condition.wait (threading.py", "_worker (concurrent/futures/thread.py"),
    "Membership._poll_until_stopped (",  # in librdkafka's poll
)
_LOOP = "BaseEventLoop._run_once (asyncio"
_NO_PYTHON = "(outside Python)"
_NAME_WIDTH = 84


@dataclass(frozen=True)
class Spent:
    """Milliseconds per gigabyte: in the function itself, and with everything it called."""

    own: float
    cumulative: float


def parse(folded: str) -> dict[tuple[str, ...], float]:
    """Lines of `outer;inner;innermost COUNT`; ValueError if one isn't. No frames: a thread without Python code."""
    stacks: dict[tuple[str, ...], float] = {}
    for line in folded.splitlines():
        frames, separator, count = line.rpartition(" ")
        if not separator:
            raise ValueError(f"not a folded stack: {line[:80]!r}")
        names = tuple(frames.split(";")) if frames else (_NO_PYTHON,)
        stacks[names] = stacks.get(names, 0.0) + float(count)
    return stacks


def spread(samples: Stacks, ms: float) -> dict[tuple[str, ...], float]:
    """CPU time that was measured by other means, spread over the samples: without those that only wait, and without the
    frames below the event loop, which are the same for all. ValueError if nothing is left."""
    working: dict[tuple[str, ...], float] = {}
    for frames, count in samples.items():
        if not any(wait in frames[-1] for wait in _WAITS):
            inside = next((at + 1 for at, name in enumerate(frames) if name.startswith(_LOOP)), 0)
            shown = frames[inside:] or frames[-1:]
            working[shown] = working.get(shown, 0.0) + count
    total = sum(working.values())
    if not total:
        raise ValueError("no sample of a working thread")
    return {frames: ms * count / total for frames, count in working.items()}


def folded(stacks: Stacks) -> str:
    """The reverse of `parse`, sorted, so that a change of the code is a small change of the file."""
    return "".join(f"{';'.join(frames)} {ms:.3f}\n" for frames, ms in sorted(stacks.items()))


def by_function(stacks: Stacks) -> dict[str, Spent]:
    """A function that calls itself is counted once per sample."""
    own: dict[str, float] = {}
    cumulative: dict[str, float] = {}
    for frames, ms in stacks.items():
        own[frames[-1]] = own.get(frames[-1], 0.0) + ms
        for name in set(frames):
            cumulative[name] = cumulative.get(name, 0.0) + ms
    return {name: Spent(own.get(name, 0.0), total) for name, total in cumulative.items()}


def report(after: Stacks, before: Stacks | None = None) -> str:
    """The dearest functions by themselves and with what they call, beside an earlier profile's if there is one."""
    return "\n".join([*_section("self", after, before), "", *_section("cumulative", after, before)]) + "\n"


def _section(kind: str, after: Stacks, before: Stacks | None) -> Iterator[str]:
    now = {name: spent.own if kind == "self" else spent.cumulative for name, spent in by_function(after).items()}
    then = {
        name: spent.own if kind == "self" else spent.cumulative for name, spent in by_function(before or {}).items()
    }
    total = sum(after.values()) or 1.0
    yield f"{kind:>10} ms/GB{'%':>7}" + ("" if before is None else f"{'before':>10}{'change':>10}") + "  function"
    shown = sorted(now, key=lambda name: (-now[name], name))[:_TOP]
    shown += [name for name in sorted(then, key=lambda name: -then[name])[:_TOP] if name not in shown]  # the gone ones
    for name in shown:
        ms = now.get(name, 0.0)
        past = "" if before is None else f"{then.get(name, 0.0):10.1f}{ms - then.get(name, 0.0):+10.1f}"
        yield f"{ms:16.1f}{100 * ms / total:7.1f}{past}  {name[:_NAME_WIDTH]}"
    ends = "" if before is None else f"{sum(before.values()):10.1f}{sum(after.values()) - sum(before.values()):+10.1f}"
    yield f"{sum(after.values()):16.1f}{100.0:7.1f}{ends}  everything"
