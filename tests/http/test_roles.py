"""Tokens with roles, and what becomes of those who have none."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
from hypothesis import given
from hypothesis import strategies as st

from replicator.config.load import load
from replicator.config.models import LinkConfig, Settings
from replicator.http.access import Role, Token, tokens_of
from replicator.http.refusals import EVERY_S, NOTES_A_MINUTE, Refusals
from replicator.ledger.operations import ACCESS, ACCESS_KEPT, KEPT, Audit, Operations, encode_audit
from tests.http.conftest import Serving
from tests.http.world import SETTINGS, World

EVE, ANN = Token.of("eve", "look", "view"), Token.of("ann", "do", "operate")
MEANT = {"all": True, "confirm": "us-to-eu"}


class Notes:
    """What would be written to trails."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, str, str]] = []
        self._came = threading.Condition()

    def __call__(self, settings: Settings, link: LinkConfig, by: str, what: str, detail: str) -> None:
        with self._came:
            self.rows.append((link.name, by, what, detail))
            self._came.notify_all()

    async def wait_for(self, count: int) -> None:
        def wait() -> None:
            with self._came:
                assert self._came.wait_for(lambda: len(self.rows) >= count, timeout=10), self.rows

        await asyncio.to_thread(wait)


def bearer(token: str) -> dict[str, Any]:
    return {"headers": {"Authorization": f"Bearer {token}"}}


async def test_given_roles_then_view_looks_and_operate_does_both(
    world: World, serving: Serving, client: aiohttp.ClientSession
) -> None:
    notes = Notes()
    url = await serving(EVE, ANN, refusals=Refusals(notes))
    for token, name, role, code in (("look", "eve", "view", 403), ("do", "ann", "operate", 202)):
        async with client.get(f"{url}/v1/me", **bearer(token)) as answer:
            assert await answer.json() == {
                "name": name,
                "role": role,
                "links": ["us-to-eu", "eu-to-ap"],
                "ways_back": [],
            }
        async with client.get(f"{url}/v1/links", **bearer(token)) as answer:
            assert answer.status == 200
        async with client.post(f"{url}/v1/links/us-to-eu/stop", json=MEANT, **bearer(token)) as answer:
            assert answer.status == code
    await notes.wait_for(1)
    assert notes.rows == [("us-to-eu", "api:eve@127.0.0.1", "POST '/v1/links/us-to-eu/stop'", "role")]
    assert [hand.by for _, _, hand in world.orders] == ["api:ann@127.0.0.1"]


async def test_given_a_token_in_a_file_that_changes_then_the_new_one_counts_and_the_old_one_no_more(
    serving: Serving, client: aiohttp.ClientSession, tmp_path: Path
) -> None:
    text = """
clusters: {us: {bootstrap_servers: "a:1"}, eu: {bootstrap_servers: "b:1"}}
links: [{name: l, source: us, target: eu}]
service: {token: {file: first}, tokens: [{name: eve, token: {file: second}}]}
"""
    (tmp_path / "r.yaml").write_text(text)
    for name in ("first", "second"):
        (tmp_path / name).write_text(f"{name}-old\n")
    url = await serving(*tokens_of(load(tmp_path / "r.yaml").service))

    async def codes(age: str) -> list[int]:
        found = []
        for name in ("first", "second"):
            async with client.get(f"{url}/v1/me", **bearer(f"{name}-{age}")) as answer:
                found.append(answer.status)
        return found

    assert (await codes("old"), await codes("new")) == ([200, 200], [401, 401])
    for name in ("first", "second"):
        (tmp_path / f"{name}.new").write_text(f"{name}-new\n")
        (tmp_path / f"{name}.new").rename(tmp_path / name)
    assert (await codes("old"), await codes("new")) == ([401, 401], [200, 200])


async def test_given_no_token_or_a_wrong_one_then_it_is_401_and_noted_once_for_each_link_it_was_about(
    world: World, serving: Serving, client: aiohttp.ClientSession
) -> None:
    notes = Notes()
    url = await serving(EVE, ANN, refusals=Refusals(notes))
    paths = ["/v1/links/us-to-eu", "/v1/status", "/v1/links", "/v1/events", "/v1/openapi.json", "/metrics"]
    for path in paths:
        for more in ({}, bearer("wrong"), bearer(""), bearer("lookx"), {"headers": {"Authorization": "Basic do"}}):
            async with client.get(url + path, **more) as answer:
                assert answer.status == 401
                assert answer.headers["WWW-Authenticate"] == "Bearer"
    await notes.wait_for(2)
    assert notes.rows == [
        ("us-to-eu", "api:?@127.0.0.1", "GET '/v1/links/us-to-eu'", "no token"),
        ("eu-to-ap", "api:?@127.0.0.1", "GET '/v1/status'", "no token"),
    ]
    assert world.looked == {}
    async with client.get(f"{url}/metrics", **bearer("look")) as answer:
        text = await answer.text()
    assert f'replicator_http_refused_total{{why="no token"}} {len(paths)}.0' in text
    assert f'replicator_http_refused_total{{why="wrong token"}} {4 * len(paths)}.0' in text


async def test_given_a_flood_then_an_address_is_noted_once_a_minute_and_a_link_ten_times() -> None:
    now, notes = [0.0], Notes()
    refusals = Refusals(notes, lambda: now[0])
    link = SETTINGS, SETTINGS.links[0]
    for attempt in range(10_000):
        refusals.take([link], "no token", "?", f"10.0.0.{attempt % 3}", "GET '/'")
    await notes.wait_for(3)
    for attempt in range(1, 10_000):
        refusals.take([link], "no token", "?", f"2001:db8:{attempt % 500:x}::{attempt:x}", "GET '/'")
    await notes.wait_for(NOTES_A_MINUTE)
    now[0] += EVERY_S
    refusals.take([link], "wrong token", "?", "10.0.0.0", "GET '/'")
    await notes.wait_for(NOTES_A_MINUTE + 1)
    assert notes.rows[-1][3] == "wrong token; 3333 more from there since the last note"
    assert len(notes.rows) == NOTES_A_MINUTE + 1


def test_given_many_refusals_then_they_push_out_each_other_and_never_what_operators_did() -> None:
    known = Operations()

    def add(number: int, verb: str) -> None:
        audit = Audit(UUID(int=number), "x", 1_790_000_000_000 + number, verb, "", "ok")
        for key, value in encode_audit(audit, known):
            known.take(key, value)

    for number in range(20):
        add(number, "pause")
    for number in range(20, 20 + ACCESS_KEPT + 50):
        add(number, ACCESS)
    kept = [each.verb for each in known.trail()]
    assert (kept.count("pause"), kept.count(ACCESS)) == (20, ACCESS_KEPT)
    for number in range(1000, 1000 + KEPT):
        add(number, "pause")
    assert len(known.trail()) == KEPT


@given(st.text(max_size=40), st.text(max_size=40))
def test_given_any_two_secrets_then_their_digests_are_the_same_only_if_they_are(one: str, other: str) -> None:
    assert (Token.of("a", one).digest == Token.of("b", other).digest) == (one == other)
    assert len(Token.of("a", one).digest) == 32
    assert Token.of("a", one).principal.role is Role.OPERATE
