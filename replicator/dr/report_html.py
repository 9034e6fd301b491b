"""A verification's report as one HTML page that needs nothing else, with the signed JSON inside."""

from __future__ import annotations

import json
import re
from html import escape
from typing import Any

_DATA = re.compile(r'<script type="application/json" id="report">(.*?)</script>', re.DOTALL)
_SHOWN = 12  # digits of a checksum, in the table
_STYLE = """
:root { color-scheme: light dark; --line: #8885; --bad: #c62828; --good: #2e7d32; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.5rem; } dl { display: grid; grid-template-columns: max-content 1fr; gap: .2rem 1.5rem; }
dt { font-weight: 600; } dd { margin: 0; overflow-wrap: anywhere; } .wide { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; margin: 1rem 0; } th, td { padding: .3rem .6rem; text-align: left;
border-bottom: 1px solid var(--line); vertical-align: top; } td.n, th.n { text-align: right;
font-variant-numeric: tabular-nums; } code { font-size: .9em; }
.bad { color: var(--bad); } .good { color: var(--good); }
@media (prefers-color-scheme: dark) { :root { --bad: #ff8a80; --good: #a5d6a7; } }
"""


def render(whole: dict[str, Any]) -> str:
    """The page of `{"report": …, "sign_off": …}`; the same one for the same report."""
    report, signed = whole["report"], whole["sign_off"]
    verdict = "every record is there, once, in order, and equal" if report["ok"] else "the two sides differ"
    facts = {
        "Link": f"{report['link']}: {report['source']} ({report['source_id']}) → "
        f"{report['target']} ({report['target_id']})",
        "Compared": report["what"],
        "By": f"{report['by']}, with Replicator {report['version']}",
        "From": f"{report['started']} to {report['finished']}, {report['seconds']:.1f} s of it in the last call",
        "Records": f"{report['records']:,} equal on both sides",
        "Differences": f"{report['differences']:,}",
        "Not copied yet": f"{report['uncopied']:,} offsets",
        "SHA-256": signed["sha256"],
        **({"HMAC-SHA-256": signed["hmac_sha256"]} if "hmac_sha256" in signed else {}),
    }
    title = f"Verification of {report['link']}"
    rows = "".join(map(_row, report["partitions"]))
    details = "".join(f"<li>{escape(line)}</li>" for part in report["partitions"] for line in _lines(part))
    listed = f"<h2>Differences and notes</h2><ul>{details}</ul>" if details else ""
    heads = "".join(f'<th scope="col"{" class=n" if number else ""}>{name}</th>' for name, number in _COLUMNS)
    defined = "".join(f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items())
    data = json.dumps(whole, ensure_ascii=False).replace("<", "\\u003c")
    return (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>\n'
        f'<body><h1>{escape(title)}: <span class="{"good" if report["ok"] else "bad"}">{verdict}</span></h1>\n'
        f'<dl>{defined}</dl>\n<div class="wide"><table><thead><tr>{heads}</tr></thead>\n<tbody>{rows}</tbody></table>'
        f"</div>\n{listed}<p>A checksum is over timestamp, key, value and headers of every record that was compared, "
        f"in order. Whether this file is as it was signed: <code>replicator verify --check-report FILE</code>.</p>\n"
        f'<script type="application/json" id="report">{data}</script></body></html>\n'
    )


def document_in(page: str) -> Any:
    """What `render` made the page of. ValueError if there is nothing of the kind in it."""
    found = _DATA.search(page)
    if found is None:
        raise ValueError("there is no report in it")
    return json.loads(found[1])


_COLUMNS = (
    ("Topic", False), ("Partition", True), ("Source offsets", True), ("Target offsets", True), ("Equal", True),
    ("Differences", True), ("Not copied", True), ("Source checksum", False), ("Target checksum", False),
    ("Result", False),
)  # fmt: skip


def _row(part: dict[str, Any]) -> str:
    name = part["topic"] if part["topic"] == part["target_topic"] else f"{part['topic']} → {part['target_topic']}"
    numbers = (
        str(part["partition"]),
        f"{part['source_start']:,} – {part['source_end']:,}",
        f"{part['target_start']:,} – {part['target_end']:,}",
        f"{part['records']:,}",
        f"{part['found']:,}",
        f"{part['uncopied']:,}",
    )
    cells = "".join(f'<td class="n">{cell}</td>' for cell in numbers)
    sums = "".join(
        f'<td><code title="{escape(part[side])}">{escape(part[side][:_SHOWN])}</code></td>'
        for side in ("source_checksum", "target_checksum")
    )
    word, style = ("equal", "good") if part["ok"] else ("different", "bad")
    return f'<tr><th scope="row">{escape(name)}</th>{cells}{sums}<td class="{style}">{word}</td></tr>\n'


def _lines(part: dict[str, Any]) -> list[str]:
    name = f"{part['topic']}-{part['partition']}"
    lines = [f"{name}: {note}" for note in part["notes"]]
    for each in part["differences"]:
        fields = f" ({', '.join(each['fields'])})" if each["fields"] else ""
        places = ", ".join(
            f"{s} offset {each[f'{s}_offset']}" for s in ("source", "target") if each[f"{s}_offset"] >= 0
        )
        lines.append(f"{name}: {each['kind']}{fields} at {places}" + (f": {each['detail']}" if each["detail"] else ""))
    if part["found"] > len(part["differences"]):
        lines.append(f"{name}: and {part['found'] - len(part['differences']):,} more")
    if not part["complete"]:
        lines.append(f"{name}: given up after too many differences")
    return lines
