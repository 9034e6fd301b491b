"""The dashboards are what Grafana's own schemas know: every field, and every value that has a fixed set of them.

Grafana's types come from its SDK, which is made from them. Nobody has seen the dashboards drawn: that needs Grafana.
"""

from __future__ import annotations

import copy
import json
import typing
from collections.abc import Iterator
from enum import Enum
from typing import Any

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from tests.dashboards.files import DASHBOARDS, dashboard

UNDESCRIBED = "definition"  # of a variable: Grafana writes it beside `query`, and its schema leaves it out


@pytest.fixture(scope="module", autouse=True)
def panels_are_known() -> None:
    register_default_plugins()


def lost(ours: Any, theirs: Any, path: str = "") -> Iterator[str]:
    """What isn't in `theirs` as it is in `ours`."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key, value in ours.items():
            if key not in theirs:
                yield f"{path}.{key}"
            else:
                yield from lost(value, theirs[key], f"{path}.{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
            yield from lost(one, other, f"{path}[{number}]")
    elif ours != theirs:
        yield path


def misfits(found: Any, path: str = "") -> Iterator[str]:
    """Values of the SDK's objects that their types don't allow."""
    if isinstance(found, list):
        for number, each in enumerate(found):
            yield from misfits(each, f"{path}[{number}]")
    elif type(found).__module__.startswith("grafana_foundation_sdk."):
        for name, kind in typing.get_type_hints(type(found)).items():
            value = getattr(found, name, None)
            if value is not None and not allowed(value, kind):
                yield f"{path}.{name}: {value!r}"
            yield from misfits(value, f"{path}.{name}")


def allowed(value: Any, kind: Any) -> bool:
    """As far as enumerations and plain types say."""
    options = typing.get_args(kind) if typing.get_origin(kind) is typing.Union else (kind,)
    plain = {str: str, bool: bool, int: int, float: (int, float)}
    for option in options:
        if isinstance(option, type) and issubclass(option, Enum):
            if value in {each.value for each in option} or isinstance(value, option):
                return True
        elif option in plain:
            if isinstance(value, plain[option]) and (option is bool) == isinstance(value, bool):
                return True
        elif option is not type(None):
            return True
    return False


def wrong(document: dict[str, Any]) -> list[str]:
    """All that Grafana's schemas have against it."""
    read = Dashboard.from_json(copy.deepcopy(document))
    written = json.loads(json.dumps(read, cls=JSONEncoder))
    unknown = [path for path in lost(document, written) if not path.endswith(f".{UNDESCRIBED}")]
    return [*unknown, *misfits(read)]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_given_a_dashboard_then_grafanas_schemas_know_all_of_it(name: str) -> None:
    assert not wrong(dashboard(name))


def test_given_planted_mistakes_then_each_is_found() -> None:
    sound = dashboard("overview")
    number = next(n for n, panel in enumerate(sound["panels"]) if panel["type"] == "stat")

    def broken(**options: Any) -> list[str]:
        document = copy.deepcopy(sound)
        document["panels"][number]["options"] |= options
        return wrong(document)

    assert broken() == []
    assert broken(grafMode="none") == [f".panels[{number}].options.grafMode"]
    assert broken(graphMode="aera") == [f".panels[{number}].options.graph_mode: 'aera'"]
    document = copy.deepcopy(sound)
    document["panels"][number]["gridPos"]["w"] = "wide"
    assert wrong(document) == [f".panels[{number}].grid_pos.w: 'wide'"]
    document = copy.deepcopy(sound)
    document["pannels"] = []
    assert wrong(document) == [".pannels"]
