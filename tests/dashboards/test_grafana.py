"""The dashboards are what their source makes, and readable: titles, descriptions, units, no panel upon another."""

from __future__ import annotations

import pytest

from dashboards.__main__ import DIRECTORY, documents, text
from tests.dashboards.files import DASHBOARDS, dashboard

CORE = {"row", "timeseries", "stat", "table"}  # panels that every Grafana has


def test_given_the_dashboards_then_the_files_in_the_repository_are_made_from_their_source() -> None:
    for name, document in documents().items():
        assert (DIRECTORY / name).read_text() == text(document), "run: python -m dashboards"
    assert {file.stem for file in DIRECTORY.iterdir()} == {*DASHBOARDS}


@pytest.mark.parametrize("name", DASHBOARDS)
def test_given_a_dashboard_then_every_panel_says_what_it_shows_and_where_its_data_is_from(name: str) -> None:
    found = dashboard(name)
    panels = found["panels"]
    assert {panel["type"] for panel in panels} <= CORE
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        if panel["type"] != "row":
            assert panel["title"]
            assert panel["description"].endswith("."), panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"
            assert panel["type"] == "table" or panel["fieldConfig"]["defaults"]["unit"], panel["title"]
    names = [variable["name"] for variable in found["templating"]["list"]]
    assert names[:2] == ["datasource", "job"]


@pytest.mark.parametrize("name", DASHBOARDS)
def test_given_a_dashboard_then_no_panel_lies_upon_another_or_beyond_the_edge(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard(name)["panels"]:
        at = panel["gridPos"]
        for x in range(at["x"], at["x"] + at["w"]):
            for y in range(at["y"], at["y"] + at["h"]):
                assert x < 24
                assert taken.setdefault((x, y), panel["title"]) == panel["title"]


def test_given_links_between_dashboards_then_they_lead_to_one_that_there_is() -> None:
    uids = {document["uid"] for document in documents().values()}
    for document in documents().values():
        for panel in document["panels"]:
            for override in panel.get("fieldConfig", {}).get("overrides", ()):
                for shown in override["properties"]:
                    for link in shown["value"] if shown["id"] == "links" else ():
                        assert link["url"].split("?")[0].removeprefix("/d/") in uids
