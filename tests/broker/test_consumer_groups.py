"""Consumer groups of KIP-848: reconciliation, epochs, timeouts, and what survives a restart."""

from __future__ import annotations

import asyncio

import pytest
from kio.schema.errors import ErrorCode

from broker.errors import KafkaError
from broker.groups.classic_group import ClassicGroup
from broker.groups.consumer_member import LEAVING_FOR_A_WHILE, NOTHING, MemberState
from broker.groups.coordinator import Commit, Committer
from broker.groups.member import JoinRequest
from tests.broker.consumer_world import GROUP, Client, Topics, World, settle


def code(refused: pytest.ExceptionInfo[KafkaError]) -> ErrorCode:
    return refused.value.code


def joined(world: World, *names: str) -> list[Client]:
    clients = [Client(world, name) for name in names]
    for client in clients:
        client.join()
    settle(*clients)
    return clients


def test_given_nobody_else_when_a_member_joins_then_it_gets_everything_at_epoch_one() -> None:
    world = World()
    a = Client(world, "a")
    result = a.join()
    assert (result.member_id, result.member_epoch, result.heartbeat_interval_ms) == ("a", 1, 5000)
    assert result.assignment == world.topics.partitions("t")
    assert world.group.state_name == "Stable"


def test_given_a_member_with_everything_when_another_joins_then_partitions_move_only_once_they_are_given_up() -> None:
    world = World()
    a, b = Client(world, "a"), Client(world, "b")
    a.join()
    assert b.join().assignment == NOTHING
    assert (b.epoch, world.group.members["b"].state) == (2, MemberState.UNRELEASED_PARTITIONS)
    assert world.group.state_name == "Reconciling"
    a.beat(gives_up=False)
    assert (a.epoch, world.group.members["a"].state) == (1, MemberState.UNREVOKED_PARTITIONS)
    assert b.beat().assignment == NOTHING
    a.owned = world.group.members["a"].assigned
    a.beat()
    assert a.epoch == 2
    assert len(b.beat().assignment or ()) == 3
    assert a.owned | b.owned == world.topics.partitions("t")
    assert world.group.state_name == "Stable"


def test_given_members_when_one_leaves_then_the_group_assigns_anew_at_the_next_heartbeat() -> None:
    world = World()
    a, b = joined(world, "a", "b")
    assert b.leave().member_epoch == -1
    assert world.group.state_name == "Assigning"
    assert a.beat().assignment == world.topics.partitions("t")
    assert (a.epoch, world.group.state_name) == (3, "Stable")
    a.leave()
    assert (world.group.state_name, world.group.snapshot.epoch) == ("Empty", 4)


def test_given_a_silent_member_when_its_session_ends_then_its_partitions_go_to_the_others() -> None:
    world = World()
    a, _ = joined(world, "a", "b")
    world.pass_time(30)
    a.beat()
    world.pass_time(16)
    assert set(world.group.members) == {"a"}
    assert a.beat().assignment == world.topics.partitions("t")


def test_given_a_member_that_keeps_what_it_must_give_up_when_its_rebalance_timeout_ends_then_it_is_out() -> None:
    world = World(session_timeout_ms=600_000)
    a, b = Client(world, "a", rebalance_timeout_ms=20_000), Client(world, "b")
    a.join()
    b.join()
    for _ in range(4):
        a.beat(gives_up=False)
        world.pass_time(4)
    assert set(world.group.members) == {"a", "b"}
    world.pass_time(5)
    assert set(world.group.members) == {"b"}
    with pytest.raises(KafkaError) as refused:
        a.beat()
    assert code(refused) is ErrorCode.unknown_member_id
    assert b.beat().assignment == world.topics.partitions("t")


def test_given_a_coordinator_nobody_can_reach_when_sessions_end_then_nobody_is_late() -> None:
    world = World()
    joined(world, "a")
    world.group._is_suspended = lambda: True
    world.pass_time(100)
    assert set(world.group.members) == {"a"}
    world.group._is_suspended = lambda: False
    world.pass_time(46)
    assert not world.group.members


def test_given_a_log_that_cannot_be_written_when_a_session_ends_then_it_is_tried_again() -> None:
    world = World()
    joined(world, "a")
    world.log.broken = True
    with pytest.raises(KafkaError):
        Client(world, "b").join()
    assert set(world.group.members) == {"a"}
    world.pass_time(46)
    assert set(world.group.members) == {"a"}
    world.log.broken = False
    world.pass_time(46)
    assert not world.group.members


@pytest.mark.parametrize(
    ("epoch", "owned"), [(3, NOTHING), (1, None), (-5, NOTHING)], ids=["ahead", "behind", "nonsense"]
)
def test_given_a_wrong_epoch_when_a_member_calls_then_it_is_fenced(epoch: int, owned: object) -> None:
    world = World()
    a, _ = joined(world, "a", "b")
    with pytest.raises(KafkaError) as refused:
        world.call("a", epoch, owned=owned)
    assert code(refused) is (ErrorCode.invalid_request if epoch < 0 else ErrorCode.fenced_member_epoch)
    assert a.beat().member_epoch == 2


def test_given_an_answer_that_got_lost_when_the_member_repeats_its_epoch_then_it_gets_the_answer_again() -> None:
    world = World()
    a = Client(world, "a")
    a.join()
    again = a.join()
    assert (again.member_epoch, again.assignment) == (1, world.topics.partitions("t"))
    Client(world, "b").join()
    before = a.owned
    a.beat()
    a.beat()
    assert (a.epoch, a.owned < before) == (2, True)
    a.epoch = 1
    assert a.beat().member_epoch == 2


def test_given_a_partial_heartbeat_when_nothing_changed_then_the_answer_has_no_assignment() -> None:
    world = World()
    joined(world, "a")
    assert world.call("a", 1).assignment is None
    world.topics.grow("t", 8)
    assert world.call("a", 1).assignment == world.topics.partitions("t")


def test_given_topics_when_they_grow_go_or_come_again_then_the_group_epoch_follows() -> None:
    world = World(Topics(t=2))
    (a,) = joined(world, "a")
    world.topics.grow("t", 3)
    a.beat()
    assert (a.epoch, a.owned) == (2, world.topics.partitions("t"))
    del world.topics.known["t"]
    a.beat()
    a.beat()
    assert (a.epoch, a.owned) == (3, NOTHING)
    world.topics.make("t", 1)
    a.beat()
    assert (a.epoch, a.owned) == (4, world.topics.partitions("t"))


def test_given_a_static_member_when_it_goes_for_a_while_then_its_partitions_wait_for_it() -> None:
    world = World()
    a, b = Client(world, "a", instance="one"), Client(world, "b")
    a.join()
    b.join()
    settle(a, b)
    before = a.owned
    usurper = Client(world, "u", instance="one")
    with pytest.raises(KafkaError) as refused:
        usurper.join()
    assert code(refused) is ErrorCode.unreleased_instance_id
    with pytest.raises(KafkaError) as refused:
        world.call("u", 2, instance_id="one")
    assert code(refused) is ErrorCode.fenced_instance_id
    with pytest.raises(KafkaError) as refused:
        world.call("a", 2, instance_id="two")
    assert code(refused) is ErrorCode.unknown_member_id
    assert a.leave(LEAVING_FOR_A_WHILE).member_epoch == LEAVING_FOR_A_WHILE
    assert world.group.state_name == "Reconciling"
    epoch = world.group.snapshot.epoch
    assert usurper.join().assignment == before
    assert (set(world.group.members), usurper.epoch, world.group.snapshot.epoch) == ({"u", "b"}, epoch, epoch)


def test_given_a_static_member_that_stays_away_when_its_session_ends_then_it_is_out() -> None:
    world = World()
    a = Client(world, "a", instance="one")
    a.join()
    a.leave(LEAVING_FOR_A_WHILE)
    world.pass_time(46)
    assert world.group.state_name == "Empty"


def test_given_members_that_disagree_when_assigning_then_the_majoritys_assignor_wins() -> None:
    world = World(Topics(t=3, u=3))
    clients = [Client(world, name, "t", "u", assignor="range") for name in ("a", "b")]
    for client in clients:
        client.join()
    settle(*clients)
    assert world.group.assignor_name == "range"
    names = {identity: name for name, (identity, _) in world.topics.known.items()}
    assert sorted((names[topic], index) for topic, index in clients[0].owned) == [
        ("t", 0),
        ("t", 1),
        ("u", 0),
        ("u", 1),
    ]
    with pytest.raises(KafkaError) as refused:
        Client(world, "c", assignor="sticky").join()
    assert code(refused) is ErrorCode.unsupported_assignor


def test_given_a_pattern_when_topics_come_and_go_then_members_follow() -> None:
    world = World(Topics(orders=2, others=1))
    a = Client(world, "a", regex="ord.*")
    a.join()
    settle(a)
    assert (a.owned, a.epoch) == (world.topics.partitions("orders"), 2)
    world.topics.make("ordinary", 1)
    world.pass_time(11)
    settle(a)
    assert a.owned == world.topics.partitions("orders", "ordinary")
    b = Client(world, "b", regex="ord.*")
    b.join()
    settle(a, b)
    assert a.owned | b.owned == world.topics.partitions("orders", "ordinary")
    assert not a.owned & b.owned
    a.regex = "nothing"
    settle(a, b)
    assert (a.owned, b.owned) == (NOTHING, world.topics.partitions("orders", "ordinary"))
    with pytest.raises(KafkaError) as refused:
        Client(world, "c", regex="(").join()
    assert code(refused) is ErrorCode.invalid_regular_expression


def test_given_topics_that_a_member_may_not_see_when_its_pattern_is_resolved_then_they_are_left_out() -> None:
    world = World(Topics(orders=2, orders_of_others=1))
    joining = {"rebalance_timeout_ms": 1000, "regex": "orders.*", "owned": NOTHING}
    world.call("a", 0, **joining, sees=lambda topic: topic != "orders_of_others")
    assert world.call("a", 1).assignment == world.topics.partitions("orders")


def test_given_a_full_group_when_another_member_joins_then_it_is_refused() -> None:
    world = World(max_size=1)
    (a,) = joined(world, "a")
    with pytest.raises(KafkaError) as refused:
        Client(world, "b").join()
    assert code(refused) is ErrorCode.group_max_size_reached
    a.beat()


@pytest.mark.parametrize(
    ("member_id", "epoch", "version", "values"),
    [
        ("", 0, 1, {}),
        ("", 5, 0, {}),
        ("", -1, 0, {}),
        ("m", 0, 1, {"rebalance_timeout_ms": -1}),
        ("m", 0, 1, {"owned": None}),
        ("m", 0, 1, {"owned": frozenset({(None, 0)})}),
        ("m", 0, 1, {"topics": None}),
        ("m", 0, 1, {"instance_id": " "}),
        ("m", 0, 1, {"rack_id": ""}),
        ("m", -2, 1, {}),
        ("m", -3, 1, {}),
    ],
)
def test_given_a_request_that_makes_no_sense_when_called_then_it_is_refused(
    member_id: str, epoch: int, version: int, values: dict[str, object]
) -> None:
    full = {"rebalance_timeout_ms": 1, "topics": frozenset({"t"}), "owned": NOTHING}
    with pytest.raises(KafkaError) as refused:
        World().call(member_id, epoch, version, **(full | values))
    assert code(refused) is ErrorCode.invalid_request


def test_given_no_group_or_no_member_when_called_then_it_is_said() -> None:
    world = World()
    for epoch in (1, -1):
        with pytest.raises(KafkaError) as refused:
            world.call("a", epoch)
        assert code(refused) is ErrorCode.group_id_not_found
    joined(world, "a")
    for epoch in (1, -1):
        with pytest.raises(KafkaError) as refused:
            world.call("b", epoch)
        assert code(refused) is ErrorCode.unknown_member_id


def test_given_version_zero_when_joining_without_a_member_id_then_one_is_given() -> None:
    world = World()
    values = {"rebalance_timeout_ms": 1, "topics": frozenset({"t"}), "owned": NOTHING}
    result = world.call("", 0, 0, **values)
    assert len(result.member_id) == 22
    assert set(world.group.members) == {result.member_id}


def commit(world: World, member: str = "", epoch: int = -1, *, version: int = 9, transactional: bool = False) -> object:
    who, what = Committer(member, None, epoch), [Commit("t", 0, 5)]
    if transactional:
        return world.coordinator.commit_in_transaction(GROUP, who, 4000, 0, what)
    return world.coordinator.commit(GROUP, who, what, api_version=version)


def test_given_members_when_positions_are_committed_and_read_then_epochs_are_checked() -> None:
    world = World()
    (a,) = joined(world, "a")
    assert commit(world, "a", 1) == [ErrorCode.none]
    for who, how, expected in (
        (("", -1), {}, ErrorCode.unknown_member_id),
        (("b", 1), {}, ErrorCode.unknown_member_id),
        (("a", 7), {}, ErrorCode.stale_member_epoch),
        (("a", -1), {}, ErrorCode.stale_member_epoch),
        (("a", 1), {"version": 8}, ErrorCode.unsupported_version),
        (("a", 7), {"transactional": True}, ErrorCode.illegal_generation),
        (("b", 1), {"transactional": True}, ErrorCode.unknown_member_id),
    ):
        with pytest.raises(KafkaError) as refused:
            commit(world, *who, **how)  # type: ignore[arg-type]
        assert code(refused) is expected, (who, how)
    assert commit(world, transactional=True) == [ErrorCode.none]
    read = world.coordinator.positions
    assert read(GROUP)["t", 0].offset == 5
    assert read(GROUP, "a", 1)["t", 0].offset == 5
    for member, epoch, expected in (
        ("a", 0, ErrorCode.stale_member_epoch),
        ("b", 1, ErrorCode.unknown_member_id),
        (None, 1, ErrorCode.unknown_member_id),
    ):
        with pytest.raises(KafkaError) as refused:
            read(GROUP, member, epoch)
        assert code(refused) is expected
    a.leave()
    assert commit(world) == [ErrorCode.none]


def test_given_a_group_when_positions_and_group_are_deleted_then_members_are_in_the_way() -> None:
    world = World(Topics(t=1, u=1))
    (a,) = joined(world, "a")
    world.coordinator.commit(GROUP, Committer("a", None, 1), [Commit("t", 0, 1), Commit("u", 0, 1)])
    codes = world.coordinator.delete_offsets(GROUP, [("t", 0), ("u", 0)])
    assert codes == [ErrorCode.group_subscribed_to_topic, ErrorCode.none]
    with pytest.raises(KafkaError) as refused:
        world.coordinator.delete_group(GROUP)
    assert code(refused) is ErrorCode.non_empty_group
    a.leave()
    world.coordinator.delete_group(GROUP)
    world.restart()
    assert not world.coordinator.groups


def test_given_retention_when_a_group_is_left_then_its_positions_and_then_itself_go() -> None:
    world = World(session_timeout_ms=10**10)
    (a,) = joined(world, "a")
    commit(world, "a", 1)
    world.pass_time(8 * 24 * 3600)
    world.coordinator.expire_offsets()
    assert world.coordinator.positions(GROUP)
    a.leave()
    world.coordinator.expire_offsets()
    assert not world.coordinator.groups


async def test_given_an_empty_group_when_joined_the_other_way_then_it_changes_its_kind_and_keeps_positions() -> None:
    world = World()
    assert commit(world) == [ErrorCode.none]
    assert isinstance(world.coordinator.groups[GROUP], ClassicGroup)
    joined(world, "a")
    request = JoinRequest("", None, "c", "/h", 10_000, 10_000, "consumer", (("range", b""),))
    refused = await world.coordinator.join(GROUP, request)
    assert refused.error is ErrorCode.inconsistent_group_protocol
    with pytest.raises(KafkaError):
        world.coordinator.heartbeat(GROUP, "a", None, 1)
    assert world.coordinator.leave(GROUP, [("b", None), ("a", None)]) == [ErrorCode.unknown_member_id, ErrorCode.none]
    waiting = world.coordinator.join(GROUP, request)
    task = asyncio.ensure_future(waiting)
    for _ in range(3):
        await asyncio.sleep(0)
        world.timers.run_due()
    assert (await task).error is ErrorCode.none
    assert isinstance(world.coordinator.groups[GROUP], ClassicGroup)
    with pytest.raises(KafkaError) as busy:
        Client(world, "b").join()
    assert code(busy) is ErrorCode.group_id_not_found
    assert world.coordinator.positions(GROUP)["t", 0].offset == 5
    world.coordinator.leave(GROUP, [((await task).member_id, None)])
    Client(world, "b").join()
    world.restart()
    assert set(world.group.members) == {"b"}
    assert world.coordinator.positions(GROUP)["t", 0].offset == 5


def test_given_a_restart_when_loading_then_the_group_is_the_same_and_sessions_start_over() -> None:
    world = World(Topics(t=4, orders=1))
    a, b, c = Client(world, "a", instance="one", assignor="range"), Client(world, "b"), Client(world, "c", regex="o.*")
    for client in (a, b, c):
        client.join()
    settle(a, b, c)
    world.pass_time(40)
    before = world.group.snapshot
    world.restart()
    assert world.group.snapshot == before
    for client in (a, b, c):
        client.beat()
    world.pass_time(40)
    assert set(world.group.members) == {"a", "b", "c"}
    world.pass_time(6)
    assert world.group.state_name == "Empty"
