"""The building blocks of the Grafana dashboards: panels that flow into rows, variables, the frame around them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

Json = dict[str, Any]
Query = tuple[str, str]  # PromQL, legend

SCHEMA_VERSION = 42  # Grafana 12; older ones read it as well
WIDTH = 24
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_GREEN, _ORANGE, _RED = "green", "orange", "red"


def graph(
    title: str, unit: str, about: str, *queries: Query, width: int = 12, height: int = 8, stacked: bool = False
) -> Json:
    """Lines over time."""
    custom: Json = {"lineWidth": 1, "fillOpacity": 25 if stacked else 8, "showPoints": "never", "spanNulls": False}
    custom |= {"stacking": {"mode": "normal" if stacked else "none", "group": "A"}}
    return _panel("timeseries", title, unit, about, queries, width, height) | {
        "fieldConfig": {"defaults": {"unit": unit, "min": 0, "custom": custom}, "overrides": []},
        "options": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
    }


def number(
    title: str, unit: str, about: str, query: str, *, warn: float | None = None, bad: float | None = None,
    low_is_bad: bool = False, width: int = 4,
) -> Json:  # fmt: skip
    """One number now, coloured from `warn` and from `bad` on; `low_is_bad`: red below `bad`."""
    steps: list[Json] = [{"color": _RED if low_is_bad else _GREEN, "value": None}]
    if low_is_bad:
        steps.append({"color": _GREEN, "value": bad})
    else:
        steps += [{"color": c, "value": v} for c, v in ((_ORANGE, warn), (_RED, bad)) if v is not None]
    thresholds = {"mode": "absolute", "steps": steps}
    return _panel("stat", title, unit, about, [(query, "")], width, 4, instant=True) | {
        "fieldConfig": {
            "defaults": {"unit": unit, "noValue": "unknown", "thresholds": thresholds, "color": {"mode": "thresholds"}},
            "overrides": [],
        },
        "options": {
            "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "textMode": "auto",
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
        },
    }  # fmt: skip


def table(
    title: str,
    about: str,
    key: str,
    columns: Sequence[tuple[str, str, str]],
    *,
    link: str = "",
    width: int = WIDTH,
    height: int = 8,
) -> Json:
    """A line per value of the label `key`; columns are (title, unit, PromQL). `link`: where a click on it leads."""
    letters = [chr(ord("A") + index) for index in range(len(columns))]
    queries = [(query, "") for _, _, query in columns]
    fields = [f"Value #{letter}" for letter in letters] if len(columns) > 1 else ["Value"]  # as Grafana names them
    renamed = {field: name for field, (name, _, _) in zip(fields, columns, strict=True)}
    overrides: list[Json] = [
        {"matcher": {"id": "byName", "options": name}, "properties": [{"id": "unit", "value": unit}]}
        for name, unit, _ in columns
    ]
    if link:
        links = [{"title": "Open", "url": link}]
        overrides.append({"matcher": {"id": "byName", "options": key}, "properties": [{"id": "links", "value": links}]})
    panel = _panel("table", title, "", about, queries, width, height, instant=True)
    for target in panel["targets"]:
        target["format"] = "table"
    return panel | {
        "fieldConfig": {"defaults": {"noValue": "-", "custom": {"align": "auto"}}, "overrides": overrides},
        "options": {"showHeader": True, "cellHeight": "sm"},
        "transformations": [
            {"id": "joinByField", "options": {"byField": key, "mode": "outer"}},
            {"id": "filterFieldsByName", "options": {"include": {"names": [key, *renamed]}}},
            {"id": "organize", "options": {"renameByName": renamed}},
        ],
    }


def variable(name: str, query: str, label: str, *, many: bool = True) -> Json:
    """A choice among a label's values; `many`: of several, and of all."""
    found: Json = {
        "name": name, "label": label, "type": "query", "datasource": _SOURCE,
        "query": {"query": query, "refId": name}, "definition": query, "refresh": 2, "sort": 1,
        "multi": many, "includeAll": many,
    }  # fmt: skip
    if many:
        found |= {"allValue": ".*", "current": {"text": "All", "value": "$__all"}}
    return found


def dashboard(
    uid: str, title: str, about: str, variables: Sequence[Json], rows: Sequence[tuple[str, list[Json]]]
) -> Json:
    """The whole document; `rows` are (title, panels)."""
    source = {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "refresh": 1}
    links = {
        "title": "Replicator", "type": "dashboards", "tags": ["replicator"], "asDropdown": False, "keepTime": True,
        "includeVars": True, "targetBlank": False,
    }  # fmt: skip
    return {
        "uid": uid, "title": f"Replicator / {title}", "description": about, "tags": ["replicator"],
        "schemaVersion": SCHEMA_VERSION, "version": 1, "editable": True, "graphTooltip": 1, "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"}, "timezone": "browser", "annotations": {"list": []}, "links": [links],
        "templating": {"list": [source, *variables]}, "panels": _placed(rows),
    }  # fmt: skip


def _placed(rows: Sequence[tuple[str, list[Json]]]) -> list[Json]:
    """Panels from left to right, each row below the one before."""
    placed: list[Json] = []
    top = 0
    for title, panels in rows:
        placed.append({"type": "row", "title": title, "collapsed": False, "panels": [], "id": len(placed) + 1}
                      | {"gridPos": {"x": 0, "y": top, "w": WIDTH, "h": 1}})  # fmt: skip
        top, left, line = top + 1, 0, 0
        for panel in panels:
            at = panel["gridPos"]
            if left + at["w"] > WIDTH:
                top, left, line = top + line, 0, 0
            placed.append(panel | {"id": len(placed) + 1, "gridPos": at | {"x": left, "y": top}})
            left, line = left + at["w"], max(line, at["h"])
        top += line
    return placed


def _panel(
    kind: str, title: str, unit: str, about: str, queries: Sequence[Query], width: int, height: int,
    instant: bool = False,
) -> Json:  # fmt: skip
    targets = [
        {"refId": chr(ord("A") + index), "datasource": _SOURCE, "expr": query, "legendFormat": legend or "__auto"}
        | {"instant": instant, "range": not instant}
        for index, (query, legend) in enumerate(queries)
    ]
    return {"type": kind, "title": title, "description": about, "datasource": _SOURCE, "targets": targets,
            "gridPos": {"w": width, "h": height}}  # fmt: skip
