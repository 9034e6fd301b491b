"""`python -m dashboards`: writes dashboards/grafana and dashboards/cloudwatch. Change them here, not there."""

from __future__ import annotations

import json
from pathlib import Path

from dashboards.for_cloudwatch import cloudwatch_files
from dashboards.overview_and_link import LINK, OVERVIEW
from dashboards.panels import Json
from dashboards.topic_and_workers import TOPIC, WORKERS

DIRECTORY = Path(__file__).parent / "grafana"
CLOUDWATCH = Path(__file__).parent / "cloudwatch"


def documents() -> dict[str, Json]:
    """By file name."""
    return {"overview.json": OVERVIEW, "link.json": LINK, "topic.json": TOPIC, "workers.json": WORKERS}


def text(document: Json) -> str:
    """As it stands in the file."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    DIRECTORY.mkdir(exist_ok=True)
    for name, document in documents().items():
        (DIRECTORY / name).write_text(text(document))
    CLOUDWATCH.mkdir(exist_ok=True)
    for name, content in cloudwatch_files().items():
        (CLOUDWATCH / name).write_text(content)
