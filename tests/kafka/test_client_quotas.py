"""Quotas that there aren't, and filters for them that make no sense."""

from __future__ import annotations

from typing import Any

import pytest
from kio.schema.errors import ErrorCode

from tests.kafka.guarded import CLUSTER, CLUSTER_NAME, DESCRIBE_CONFIGS, Guarded, Rule, until
from tests.kafka.scene import Scene

EXACT, DEFAULT, SPECIFIED = 0, 1, 2
Part = tuple[str, int, str | None]
INVALID = ErrorCode.invalid_request


def describe(client: Any, *parts: Part, version: int = 1) -> Any:
    components = [{"entity_type": kind, "match_type": how, "match": match} for kind, how, match in parts]
    answer = client.call("describe_client_quotas", version, components=components, strict=False)
    return answer.error_code, answer.error_message, answer.entries


@pytest.mark.parametrize("version", [0, 1])
def test_given_no_quotas_when_they_are_described_then_there_are_none(scene: Scene, version: int) -> None:
    nothing = ErrorCode.none, "", ()
    assert describe(scene.client, ("user", SPECIFIED, None), version=version) == nothing
    assert describe(scene.client, ("user", EXACT, "nobody"), ("client-id", DEFAULT, None), version=version) == nothing
    assert describe(scene.client, ("ip", EXACT, "192.0.2.7"), version=version) == nothing


@pytest.mark.parametrize(
    ("parts", "code", "message"),
    [
        ([("", SPECIFIED, None)], INVALID, "Invalid empty entity type."),
        (
            [("user", SPECIFIED, None), ("user", DEFAULT, None)],
            INVALID,
            "Entity type user cannot appear more than once in the filter.",
        ),
        ([("group", SPECIFIED, None)], ErrorCode.unsupported_version, "Unsupported entity type group"),
        ([("user", EXACT, None)], INVALID, "Request specified MATCH_TYPE_EXACT, but set match string to null."),
        (
            [("user", DEFAULT, "x")],
            INVALID,
            "Request specified MATCH_TYPE_DEFAULT, but also specified a match string.",
        ),
        (
            [("client-id", SPECIFIED, "x")],
            INVALID,
            "Request specified MATCH_TYPE_SPECIFIED, but also specified a match string.",
        ),
        ([("user", 3, None)], INVALID, "Unknown match type 3"),
        (
            [("ip", SPECIFIED, None), ("user", SPECIFIED, None)],
            INVALID,
            "Invalid entity filter component combination. IP filter component should not be used with user or clientId "
            "filter component.",
        ),
    ],
)
def test_given_a_filter_that_makes_no_sense_when_asked_then_kafkas_error(
    scene: Scene, parts: list[Part], code: ErrorCode, message: str
) -> None:
    assert describe(scene.client, *parts) == (code, message, None)


def test_given_no_right_to_describe_configs_when_quotas_are_asked_for_then_refused(guarded: Guarded) -> None:
    client, anybody = guarded.client("alice"), ("user", SPECIFIED, None)
    assert describe(client, anybody)[0] == ErrorCode.cluster_authorization_failed
    guarded.grant(Rule(CLUSTER, CLUSTER_NAME, DESCRIBE_CONFIGS))
    until(lambda: describe(client, anybody)[0], ErrorCode.none)
    guarded.revoke_all()
