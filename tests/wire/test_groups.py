"""Messages about groups, encoded and decoded, against kio's schemas: another implementation."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from kio.index import load_request_schema
from kio.schema.errors import ErrorCode

from broker.decoder import decode_request
from replicator.errors import ProtocolError
from replicator.wire import groups
from replicator.wire.connection import Connection
from replicator.wire.groups import Committed, Coordinator, ListedGroup, Positions
from tests.wire.fakebroker import body_of


class Scripted(Connection):
    """Answers with what it was given, and keeps what it was asked."""

    def __init__(self, versions: dict[int, tuple[int, int]], answer: memoryview) -> None:
        self.versions, self.cluster, self.address = versions, "us", "b:1"
        self.asked: list[tuple[int, int, bytes]] = []
        self._answer = answer

    def request(self, api: int, version: int, body: Any, *, flexible: bool, timeout_s: float = 0) -> Any:
        self.asked.append((api, version, b"".join(body)))
        future = asyncio.get_running_loop().create_future()
        future.set_result(self._answer)
        return future


def topics(**partitions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{"name": name, "partitions": of} for name, of in partitions.items()]


def position(index: int, offset: int, metadata: str | None = "", code: ErrorCode = ErrorCode.none) -> dict[str, Any]:
    return {
        "partition_index": index, "committed_offset": offset, "committed_leader_epoch": 5, "metadata": metadata,
        "error_code": code,
    }  # fmt: skip


POSITIONS = topics(
    a=[position(0, 7), position(1, -1), position(2, 9, "x" * 200)],
    b=[position(3, -1, None, ErrorCode.unstable_offset_commit), position(4, 1, None)],
)
EXPECTED = {
    ("a", 0): Committed(7, ""),
    ("a", 2): Committed(9, "x" * 200),
    ("b", 3): Committed(-1, "", 88),
    ("b", 4): Committed(1, ""),
}


async def test_given_many_groups_when_positions_are_fetched_then_one_question_brings_all() -> None:
    fields = {
        "groups": [
            {"group_id": "g", "topics": POSITIONS, "error_code": ErrorCode.none},
            {"group_id": "h", "topics": [], "error_code": ErrorCode.not_coordinator},
        ]
    }
    connection = Scripted({9: (1, 9), 10: (0, 6)}, body_of(9, 9, fields))
    answer = await groups.fetch_positions(connection, ["g", "h"])
    assert groups.decode_positions(connection, ["g", "h"], answer) == {
        "g": Positions(0, EXPECTED),
        "h": Positions(16, {}),
    }
    request = decode(9, 9, connection.asked[0][2])
    assert [(group.group_id, group.member_id, group.topics) for group in request.groups] == [
        ("g", None, None),
        ("h", None, None),
    ]
    assert request.require_stable


async def test_given_a_broker_before_3_0_then_it_is_asked_for_one_group() -> None:
    connection = Scripted({9: (0, 7), 10: (0, 3)}, body_of(9, 7, {"topics": POSITIONS, "error_code": ErrorCode.none}))
    assert groups.groups_per_question(connection) == 1
    answer = await groups.fetch_positions(connection, ["g"])
    assert groups.decode_positions(connection, ["g"], answer) == {"g": Positions(0, EXPECTED)}
    request = decode(9, 7, connection.asked[0][2])
    assert (request.group_id, request.topics, request.require_stable) == ("g", None, True)


async def test_given_damaged_positions_then_it_is_a_protocol_error() -> None:
    fields = {"groups": [{"group_id": "g", "topics": POSITIONS, "error_code": ErrorCode.none}]}
    whole = body_of(9, 9, fields)
    connection = Scripted({9: (1, 9), 10: (0, 6)}, whole)
    answer = await groups.fetch_positions(connection, ["g"])
    for end in range(1, len(answer) - 1):  # the last byte says that no tagged fields follow
        with pytest.raises(ProtocolError):
            groups.decode_positions(connection, ["g"], answer[:end])


@pytest.mark.parametrize("version", [8, 9])
async def test_given_positions_when_committed_then_no_member_and_no_epoch_is_named(version: int) -> None:
    answer = topics(
        a=[
            {"partition_index": 0, "error_code": ErrorCode.none},
            {"partition_index": 1, "error_code": ErrorCode.unknown_member_id},
        ]
    )
    connection = Scripted({8: (0, version)}, body_of(8, version, {"topics": answer}))
    found = await groups.commit_positions(connection, "g", {("a", 0): (5, "m"), ("a", 1): (6, "")})
    assert found == {("a", 0): 0, ("a", 1): 25}
    request = decode(8, version, connection.asked[0][2])
    assert (request.group_id, request.member_id, request.group_instance_id) == ("g", "", None)
    assert request.generation_id_or_member_epoch == -1
    assert [
        (p.partition_index, p.committed_offset, p.committed_leader_epoch, p.committed_metadata)
        for topic in request.topics
        for p in topic.partitions
    ] == [(0, 5, -1, "m"), (1, 6, -1, "")]


@pytest.mark.parametrize("version", [4, 5])
async def test_given_groups_when_listed_then_states_and_kinds_are_known(version: int) -> None:
    kind = {"group_type": "Consumer"} if version >= 5 else {}
    listed = [{"group_id": "g", "protocol_type": "consumer", "group_state": "Empty", **kind}]
    connection = Scripted({16: (0, version)}, body_of(16, version, {"error_code": ErrorCode.none, "groups": listed}))
    (found,) = groups.decode_groups(connection, await groups.list_groups(connection))
    assert found == ListedGroup("g", "consumer", "Empty", "consumer" if version >= 5 else "")
    assert found.empty
    decode(16, version, connection.asked[0][2])


@pytest.mark.parametrize("version", [3, 4, 6])
async def test_given_groups_when_their_coordinators_are_asked_for_then_each_has_one_or_an_error(version: int) -> None:
    one: dict[str, Any] = {
        "error_code": ErrorCode.none, "error_message": None, "node_id": 7, "host": "h", "port": 9,
    }  # fmt: skip
    fields = one if version < 4 else {"coordinators": [{"key": "g", **one}]}
    connection = Scripted({10: (0, version)}, body_of(10, version, fields))
    assert await groups.find_coordinators(connection, ["g"]) == {"g": Coordinator(0, 7)}
    request = decode(10, version, connection.asked[0][2])
    assert request.key_type == 0
    assert request.key == "g" if version < 4 else request.coordinator_keys == ("g",)


async def test_given_positions_when_deleted_then_each_has_an_answer() -> None:
    answer = topics(a=[{"partition_index": 3, "error_code": ErrorCode.none}])
    connection = Scripted({47: (0, 0)}, body_of(47, 0, {"error_code": ErrorCode.none, "topics": answer}))
    assert await groups.delete_positions(connection, "g", [("a", 3)]) == {("a", 3): 0}
    request = decode(47, 0, connection.asked[0][2])
    assert [(topic.name, topic.partitions[0].partition_index) for topic in request.topics] == [("a", 3)]
    assert request.group_id == "g"


async def test_given_a_group_when_deleted_then_its_code_comes_back() -> None:
    fields = {"results": [{"group_id": "g", "error_code": ErrorCode.non_empty_group}]}
    connection = Scripted({42: (0, 2)}, body_of(42, 2, fields))
    assert await groups.delete_group(connection, "g") == 68
    assert decode(42, 2, connection.asked[0][2]).groups_names == ("g",)


def decode(api: int, version: int, body: bytes) -> Any:
    return decode_request(load_request_schema(api, version), body, 0)
