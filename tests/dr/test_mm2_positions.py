"""What MirrorMaker leaves behind, made by hand between two bundled clusters in this process."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import pytest

from replicator.dr.mm2_positions import Taken, stored_positions, synced_groups, take_over
from replicator.errors import WrongStateError
from replicator.ledger.entry import Entry
from replicator.ledger.group_state import decode_group, encode_group_key
from replicator.ledger.lanes import ledger_topic
from replicator.ledger.log import LedgerLog
from replicator.ledger.offset_map import OffsetMap
from replicator.states import Reason, State
from replicator.sync.mm2_formats import Checkpoint, encode_checkpoint
from tests.dr.test_adopt import Scene, compact, put, rows
from tests.flow import logs
from tests.flow.logs import Row

OFFSETS = "mm2-offsets.us.internal"


@pytest.fixture
async def scene() -> AsyncIterator[Scene]:
    made = Scene()
    await made.start()
    made.target.create_topic(OFFSETS, 3, 1, {"cleanup.policy": "compact"})
    yield made
    await made.stop()


def store(
    scene: Scene, topic: str, offset: int | None, *, connector: str = "MirrorSourceConnector", at: int = 1
) -> None:
    key = json.dumps([connector, {"cluster": "us", "partition": 0, "topic": topic}], separators=(",", ":")).encode()
    value = None if offset is None else b'{"offset":%d}' % offset
    scene.target.log(OFFSETS, at).append_as_client(logs.batch([Row(0, logs.NOW, key, value)]))


async def taken(scene: Scene) -> tuple[Taken, dict[str, Entry]]:
    stored = await stored_positions(scene.eu, OFFSETS, "us")
    adoption = scene.adoption()
    done = await take_over(scene.link, scene.us, scene.eu, stored, adoption._prepare)
    return done, await scene.entries()


async def test_given_stored_positions_when_read_then_the_newest_of_this_cluster_count(scene: Scene) -> None:
    for offset in (4, 9):
        store(scene, "a", offset)
    store(scene, "gone", 5)
    store(scene, "gone", None)
    store(scene, "b", 3, connector="mine")
    store(scene, "b", 7)
    heartbeat = b'["MirrorHeartbeatConnector",{"sourceClusterAlias":"us","targetClusterAlias":"eu"}]'
    other = b'["MirrorSourceConnector",{"cluster":"asia","partition":0,"topic":"a"}]'
    for key in (heartbeat, other, b"broken"):
        scene.target.log(OFFSETS, 2).append_as_client(logs.batch([Row(0, logs.NOW, key, b'{"offset":0}')]))
    assert await stored_positions(scene.eu, OFFSETS, "us") == {("a", 0): 9, ("b", 0): 7}
    store(scene, "c", 1, connector="one")
    store(scene, "c", 2, connector="two")
    with pytest.raises(WrongStateError, match="one and two"):
        await stored_positions(scene.eu, OFFSETS, "us")
    with pytest.raises(WrongStateError, match="no topic nowhere"):
        await stored_positions(scene.eu, "nowhere", "us")


async def test_given_copies_at_and_behind_stored_positions_then_each_goes_on_exactly(scene: Scene) -> None:
    alike = [logs.rows(0, 1)[0]] * 8

    def few(n: int) -> bytes:
        return b"k%d" % (n % 3)

    scene.topic("stopped", rows(30), rows(21))
    store(scene, "stopped", 20)
    scene.topic("killed", rows(30), rows(21))
    store(scene, "killed", 11)
    scene.topic("killed-twice", rows(30), [*rows(20), *rows(6, first=12)])
    store(scene, "killed-twice", 11)
    scene.topic("idle", rows(30), rows(30))
    store(scene, "idle", 29)
    scene.topic("alike-idle", alike, alike)
    store(scene, "alike-idle", 7)
    scene.topic("alike-then-others", [*alike, *rows(5, first=50)], alike)
    store(scene, "alike-then-others", 7)
    scene.topic("emptied-copy", rows(30), rows(10))
    scene.target.log("us.emptied-copy", 0).delete_records_to(10)
    store(scene, "emptied-copy", 9)
    scene.topic("from-latest", rows(30), rows(4, first=20))
    store(scene, "from-latest", 23)
    scene.topic("not-stored", rows(30), rows(12))
    scene.topic("both-compacted", rows(30, key=few), rows(20, key=few), compact="source target")
    for cluster, topic in ((scene.source, "both-compacted"), (scene.target, "us.both-compacted")):
        put(cluster, topic, [Row(0, logs.NOW + 30, b"other", b"")])
        compact(cluster, topic)
    store(scene, "both-compacted", 19)
    scene.topic("cut", rows(10), rows(10))
    store(scene, "cut", 40)
    scene.topic("alike-killed", [*alike, *alike], alike)
    store(scene, "alike-killed", 3)
    scene.topic("foreign", rows(30), [*rows(10), *rows(5, first=100)])
    store(scene, "foreign", 5)

    done, entries = await taken(scene)
    places = {topic: entry.source_next for topic, entry in entries.items() if entry.state is State.COPYING}
    assert places == {
        "stopped": 21, "killed": 21, "killed-twice": 20, "idle": 30, "alike-idle": 8, "alike-then-others": 8,
        "emptied-copy": 10, "from-latest": 24, "not-stored": 12, "both-compacted": 31,
    }  # fmt: skip
    stopped = {topic: entry for topic, entry in entries.items() if entry.state is State.FAULTED}
    assert stopped.keys() == {"cut", "alike-killed", "foreign"}
    assert {entry.reason for entry in stopped.values()} == {Reason.RECOVERY_AMBIGUOUS}
    assert "it was cut, or is another topic" in stopped["cut"].detail
    assert done == Taken(12, 13, 3)
    assert [gap.by for gap in entries["stopped"].gaps] == ["import-mm2 --positions"]
    known = OffsetMap.from_parts([], entries["from-latest"].map_tail)
    assert [known.to_target(offset) for offset in (19, 20, 23)] == [
        0,
        0,
        3,
    ]  # the gap says that what is before isn't known
    assert (await taken(scene))[0] == Taken(12, 0, 0)  # what is known already isn't looked at again


async def test_given_checkpoints_of_synced_groups_when_taken_over_then_their_positions_are_ours_to_move(
    scene: Scene,
) -> None:
    topic = "us.checkpoints.internal"
    scene.target.create_topic(topic, 1, 1, {"cleanup.policy": "compact"})
    written = [Checkpoint("g", "us.t", 0, up, down) for up, down in ((5, 5), (9, 8), (12, 9))]
    written.append(Checkpoint("g", "us.t", 3, 7, 7))
    pairs = [*map(encode_checkpoint, written), (b"broken", b"")]
    scene.target.log(topic, 0).append_as_client(
        logs.batch([Row(n, logs.NOW, key, value) for n, (key, value) in enumerate(pairs)])
    )
    scene.topic("t", rows(30), rows(21))
    groups = await synced_groups(scene.eu, topic)
    done = await take_over(scene.link, scene.us, scene.eu, {}, scene.adoption()._prepare, groups=groups)
    assert done == Taken(0, 1, 0, 1)
    held = dict(await LedgerLog(scene.eu, ledger_topic("l"), 0).read())
    marks = decode_group(held[encode_group_key("g", "us.t")] or b"").marks
    assert [(marks[n].source, marks[n].target, marks[n].also) for n in (0, 3)] == [(12, 9, (5, 8)), (7, 7, ())]
    again = await take_over(scene.link, scene.us, scene.eu, {}, scene.adoption()._prepare, groups=groups)
    assert again == Taken(0, 0, 0, 0)
    assert await synced_groups(scene.eu, "none.checkpoints.internal") == {}
