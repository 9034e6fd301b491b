"""`check` and `doctor` through the API of a server whose clusters are away: findings and exit code as without it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiohttp
import jsonschema
import pytest
from typer.testing import CliRunner, Result

from replicator.cli.main import app
from replicator.config.load import load
from replicator.config.models import LinkConfig, Settings
from replicator.http.openapi import OPENAPI_PATH
from replicator.http.server import serve, urls
from replicator.views.table import VIEWS
from tests.http.world import World

CONFIG = """\
clusters:
  us: {bootstrap_servers: "127.0.0.1:1"}
  eu: {bootstrap_servers: "127.0.0.1:2"}
  ap: {bootstrap_servers: "127.0.0.1:3"}
links:
  - {name: us-to-eu, source: us, target: eu}
  - {name: eu-to-ap, source: eu, target: ap}
"""


class Away(World):
    """The links of a file."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self._settings = settings

    def links(self) -> dict[str, tuple[Settings, LinkConfig]]:
        return {link.name: (self._settings, link) for link in self._settings.links}


async def run(verb: str, *arguments: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, [verb, *arguments])


@pytest.mark.parametrize("verb", ["check", "doctor"])
async def test_given_clusters_that_are_away_when_they_are_looked_at_over_http_then_it_is_as_without(
    tmp_path: Path, client: aiohttp.ClientSession, verb: str
) -> None:
    file = tmp_path / "replicator.yaml"
    file.write_text(CONFIG)
    runner = await serve(Away(load(file)), "127.0.0.1:0", views=VIEWS, verbs={})
    url = urls(runner)[0]
    try:
        direct = await run(verb, "-c", str(file), "-o", "json")
        through = await run(verb, "--api", url, "-o", "json")
        text = await run(verb, "--api", url)
        one = await run(verb, "--api", url, "--link", "us-to-eu", "-o", "json")
        async with client.get(f"{url}/v1/links/us-to-eu/{verb}") as answer:
            found = await answer.json()
            assert answer.status == 200, "that a cluster is away is what it finds"
        async with client.get(url + OPENAPI_PATH) as answer:
            document = await answer.json()
        unknown = await run(verb, "--api", url, "--link", "us-to-ee")
    finally:
        await runner.cleanup()
    assert through.exit_code == direct.exit_code == text.exit_code == 3, through.stderr + direct.stderr
    theirs, ours = (json.loads(each.stdout) for each in (through, direct))
    assert theirs["ok"] is ours["ok"] is False
    assert sorted(map(str, theirs["findings"])) == sorted(map(str, ours["findings"])), "each cluster once"
    assert "5 problems" in text.stdout
    assert json.loads(one.stdout) == found
    (described,) = document["paths"]["/v1/links/{link}/" + verb]["get"]["responses"]["200"]["content"].values()
    jsonschema.validate(found, {**described["schema"], "components": document["components"]})
    assert unknown.exit_code == 2
    assert "did you mean `us-to-eu`?" in unknown.stderr
