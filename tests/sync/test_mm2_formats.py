"""The vectors were printed by the serializers of connect-mirror 4.1.1."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replicator.config.mm2_names import checkpoints_topic, is_heartbeats, offset_syncs_topic
from replicator.sync.mm2_formats import (
    Checkpoint,
    Heartbeat,
    Mm2FormatError,
    OffsetSync,
    StoredPosition,
    decode_checkpoint,
    decode_heartbeat,
    decode_offset_sync,
    decode_stored_position,
    encode_checkpoint,
    encode_heartbeat,
    encode_offset_sync,
)

HEARTBEATS = [
    (Heartbeat("us", "eu-west", 1790000000123), "00027573000765752d77657374", "0000000001a0c4506c7b"),
    (Heartbeat("grün", "é", 0), "00056772c3bc6e0002c3a9", "00000000000000000000"),
]
CHECKPOINTS = [
    (
        Checkpoint("billing", "us.orders", 7, 1234567890123, 42),
        "000762696c6c696e67000975732e6f726465727300000007",
        "00000000011f71fb04cb000000000000002a0000",
    ),
    (
        Checkpoint("g-ü", "t", 0, 0, 0, "meta ü"),
        "0004672dc3bc00017400000000",
        "00000000000000000000000000000000000000076d65746120c3bc",
    ),
]
SYNC = (OffsetSync("orders", 3, 500, 77), "00066f726465727300000003", "00000000000001f4000000000000004d")
names = st.text(max_size=40)
int64 = st.integers(-(1 << 63), (1 << 63) - 1)


@pytest.mark.parametrize(("heartbeat", "key", "value"), HEARTBEATS)
def test_given_kafkas_bytes_of_a_heartbeat_then_ours_are_the_same(heartbeat: Heartbeat, key: str, value: str) -> None:
    assert encode_heartbeat(heartbeat) == (bytes.fromhex(key), bytes.fromhex(value))
    assert decode_heartbeat(bytes.fromhex(key), bytes.fromhex(value)) == heartbeat


@pytest.mark.parametrize(("checkpoint", "key", "value"), CHECKPOINTS)
def test_given_kafkas_bytes_of_a_checkpoint_then_ours_are_the_same(
    checkpoint: Checkpoint, key: str, value: str
) -> None:
    assert encode_checkpoint(checkpoint) == (bytes.fromhex(key), bytes.fromhex(value))
    assert decode_checkpoint(bytes.fromhex(key), bytes.fromhex(value)) == checkpoint


def test_given_kafkas_bytes_of_an_offset_sync_then_ours_are_the_same() -> None:
    sync, key, value = SYNC
    assert encode_offset_sync(sync) == (bytes.fromhex(key), bytes.fromhex(value))
    assert decode_offset_sync(bytes.fromhex(key), bytes.fromhex(value)) == sync


@given(names, names, st.integers(0, (1 << 31) - 1), int64, int64, names)
def test_given_any_checkpoint_when_written_and_read_then_it_is_the_same(
    group: str, topic: str, partition: int, upstream: int, downstream: int, metadata: str
) -> None:
    checkpoint = Checkpoint(group, topic, partition, upstream, downstream, metadata)
    assert decode_checkpoint(*encode_checkpoint(checkpoint)) == checkpoint


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_given_any_bytes_when_read_then_only_a_format_error_is_raised(key: bytes, value: bytes) -> None:
    for read in (decode_checkpoint, decode_heartbeat, decode_offset_sync, decode_stored_position):
        try:
            read(key, value)
        except Mm2FormatError:
            continue


@pytest.mark.parametrize("value", [None, b"", b"\x00\x01" + bytes(8)])
def test_given_a_heartbeat_of_another_version_or_none_when_read_then_it_is_refused(value: bytes | None) -> None:
    key, _ = encode_heartbeat(Heartbeat("a", "b", 1))
    with pytest.raises(Mm2FormatError):
        decode_heartbeat(key, value)


def test_given_connects_offsets_when_read_then_positions_are_told_from_what_else_is_there() -> None:
    key = b'["MirrorSourceConnector",{"cluster":"us","partition":3,"topic":"orders"}]'
    assert decode_stored_position(key, b'{"offset":41}') == StoredPosition(
        "MirrorSourceConnector", "us", "orders", 3, 41
    )
    assert decode_stored_position(key, None) == StoredPosition("MirrorSourceConnector", "us", "orders", 3, None)
    heartbeat = b'["MirrorHeartbeatConnector",{"sourceClusterAlias":"us","targetClusterAlias":"eu"}]'
    assert decode_stored_position(heartbeat, b'{"offset":0}') is None
    for broken in (b'{"offset":-1}', b'{"offset":"5"}', b"{}", b"7", b'{"offset":true}'):
        with pytest.raises(Mm2FormatError):
            decode_stored_position(key, broken)


def test_given_a_separator_then_names_follow_it_as_mirrormakers_do() -> None:
    assert checkpoints_topic("us") == "us.checkpoints.internal"
    assert checkpoints_topic("us", "_") == "us_checkpoints_internal"
    assert offset_syncs_topic("eu") == "mm2-offset-syncs.eu.internal"
    assert [is_heartbeats(name) for name in ("heartbeats", "a.b.heartbeats", "my-heartbeats", "heartbeats.x")] == [
        True, True, False, False,
    ]  # fmt: skip
    assert is_heartbeats("a_heartbeats", "_")
    assert not is_heartbeats("a.heartbeats", "_")
