"""A flame graph as one SVG file: wide is dear, callers below, tooltips say how much."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from html import escape

from bench.stacks import Stacks

_WIDTH = 1400.0
_ROW = 17
_LETTER = 6.6
_NARROWEST = 0.4
_COLOURS = (("replicator/", "#f2a65a"), ("asyncio/", "#8fb8de"), ("", "#d5d5d5"))


@dataclass
class _Call:
    ms: float = 0.0
    calls: dict[str, _Call] = field(default_factory=dict)

    def depth(self) -> int:
        return 1 + max((call.depth() for call in self.calls.values()), default=0)


def flame_graph(stacks: Stacks, title: str) -> str:
    """SVG; replicator's own functions are orange, asyncio's blue."""
    root = _Call()
    for frames, ms in stacks.items():
        call = root
        call.ms += ms
        for name in frames:
            call = call.calls.setdefault(name, _Call())
            call.ms += ms
    height = (root.depth() + 1) * _ROW + 10
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH:.0f} {height}" font-family="monospace">'
    heading = f'<text x="4" y="13" font-size="12">{escape(title)}</text>'
    boxes = _boxes(root, 0.0, height - _ROW, _WIDTH / root.ms, root.ms) if root.ms else ()
    return "\n".join([head, heading, *boxes, "</svg>"]) + "\n"


def _boxes(call: _Call, x: float, y: int, scale: float, total: float) -> Iterator[str]:
    for name, inner in sorted(call.calls.items()):
        width = inner.ms * scale
        if width >= _NARROWEST:
            colour = next(colour for part, colour in _COLOURS if part in name)
            said = escape(f"{name}: {inner.ms:.1f} ms/GB, {100 * inner.ms / total:.1f} %")
            yield (
                f'<g><title>{said}</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{_ROW - 1}" '
                f'fill="{colour}"/>{_label(name, x, y, width)}</g>'
            )
            yield from _boxes(inner, x, y - _ROW, scale, total)
        x += width


def _label(name: str, x: float, y: int, width: float) -> str:
    letters = int((width - 6) / _LETTER)
    if letters < 3:
        return ""
    return f'<text x="{x + 3:.1f}" y="{y + 12}" font-size="11">{escape(name[:letters])}</text>'
