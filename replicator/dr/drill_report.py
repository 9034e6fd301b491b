"""A drill's result as a page and as JSON, to be kept or sent to whoever asks for proof."""

from __future__ import annotations

import html
import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from replicator.errors import WrongStateError
from replicator.ledger.drills import DrillResult

_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Drill of {link}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }}
:root {{ color-scheme: light dark }}
table {{ border-collapse: collapse }}
td, th {{ padding: .2rem 1rem .2rem 0; text-align: left }}
.n {{ text-align: right }}
</style>
<h1>Drill of {link}: {verdict}</h1>
<p>{at}, mode {mode}, by {by}, in {took} s. {error}</p>
<table>
<tr><th>Recovery time (RTO)<td class="n">{rto}
<tr><th>Recovery point (RPO)<td class="n">{rpo}
</table>
<h2>Steps</h2>
<table>
<tr><th>Step<th class="n">Seconds
{steps}
</table>
</html>
"""


def as_json(link: str, result: DrillResult) -> dict[str, Any]:
    """For programs."""
    steps = [{"step": name, "took_ms": took} for name, took in result.steps]
    return {"link": link, **asdict(result), "at": _at(result), "steps": steps}


def rto(result: DrillResult) -> str:
    """The recovery time, for people."""
    return "unknown" if result.rto_ms is None else f"{result.rto_ms / 1000:.1f} s"


def rpo(result: DrillResult) -> str:
    """The recovery point, for people."""
    if result.rpo_records is None or result.rpo_ms is None:
        return "unknown"
    return f"{result.rpo_records} records" + (f", {result.rpo_ms / 1000:.1f} s" if result.rpo_records else "")


def page(link: str, result: DrillResult) -> str:
    """One HTML page that needs nothing else."""
    rows = [f'<tr><td>{html.escape(name)}<td class="n">{took / 1000:.1f}' for name, took in result.steps]
    return _PAGE.format(
        link=html.escape(link),
        verdict="passed" if result.ok else "failed",
        at=_at(result),
        mode=result.mode,
        by=html.escape(result.by),
        took=f"{result.took_ms / 1000:.1f}",
        error=html.escape(f"It failed at “{result.failed_at}”: {result.error}" if result.error else ""),
        rto=rto(result),
        rpo=rpo(result),
        steps="\n".join(rows),
    )


def save(file: Path, link: str, result: DrillResult) -> None:
    """As a page if the file is called so, else as JSON. WrongStateError if it can't be written."""
    is_page = file.suffix in (".html", ".htm")
    text = page(link, result) if is_page else json.dumps(as_json(link, result), indent=1) + "\n"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise WrongStateError(f"the report can't be written to {file}: {error.strerror}") from error


def _at(result: DrillResult) -> str:
    return datetime.fromtimestamp(result.at_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
