"""The dashboards and rules as they are in the repository, and Prometheus' tools if they are here."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2] / "dashboards"
RULES = ROOT / "rules.yml"
RULES_TEST = ROOT / "rules_test.yml"
DASHBOARDS = ("overview", "link", "topic", "workers")


@dataclass(frozen=True)
class Query:
    """One query of a panel."""

    where: str
    text: str
    legend: str
    instant: bool


def dashboard(name: str) -> Any:
    return json.loads((ROOT / "grafana" / f"{name}.json").read_text())


def queries() -> Iterator[Query]:
    for name in DASHBOARDS:
        for panel in dashboard(name)["panels"]:
            for target in panel.get("targets", ()):
                where = f"{name}: {panel['title']} {target['refId']}"
                yield Query(where, target["expr"], target["legendFormat"], target["instant"])


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def filled_in(expression: str, **values: str) -> str:
    """With Grafana's variables replaced: by `values`, else by what takes everything."""
    given = {"__rate_interval": "1m", **values}
    return re.sub(r"\$(\w+)", lambda match: given.get(match[1], ".*"), expression)


def tool(name: str) -> str:
    """Where `promtool` or `prometheus` is. Skips the test where they aren't; under CI=true they have to be."""
    found = shutil.which(name)
    if found is None and os.environ.get("CI") == "true":
        pytest.fail(f"{name} isn't here (Debian's package prometheus; required because CI=true)", pytrace=False)
    if found is None:
        pytest.skip(f"{name} isn't here: install Debian's package prometheus")
    return found
