"""RESULTS.md: the table between two markers; what people write outside them stays."""

from __future__ import annotations

BEGIN = "<!-- written by `python -m bench --save`: from here -->"
END = "<!-- to here -->"


def with_table(document: str, table: str) -> str:
    """The document with `table` between its markers, added at the end if it has none.

    ValueError if there is one marker without the other, or they are in the wrong order or there twice.
    """
    section = f"{BEGIN}\n\n{table.strip()}\n\n{END}\n"
    marks = (document.count(BEGIN), document.count(END))
    if marks == (0, 0):
        head = document.rstrip() or "# Results"
        return f"{head}\n\n{section}"
    before, _, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if marks != (1, 1) or not end:
        raise ValueError(f"there must be one {BEGIN!r} and then one {END!r}, or neither")
    return before + section + after.removeprefix("\n")
