from __future__ import annotations

import pytest

from replicator.config.models import LinkConfig, TopicsConfig
from replicator.ledger.selection import comes_from, select, skip_reason
from replicator.states import Reason

LINK = LinkConfig(name="a-to-b", source="source", target="target")
IDENTICAL = LINK.model_copy(update={"topics": TopicsConfig(naming="identical")})


@pytest.mark.parametrize("topic", ["target.t", "target.source.t", "source.target.t"])
def test_given_mm2s_cycle_vectors_when_prefixed_then_what_came_from_the_target_is_skipped(topic: str) -> None:
    assert "came from target" in (skip_reason(LINK, topic) or "")
    assert skip_reason(IDENTICAL, topic) is None


@pytest.mark.parametrize("topic", ["t", "source.t", "t.target", "mytarget.t"])
def test_given_mm2s_other_vectors_when_prefixed_then_they_are_copied(topic: str) -> None:
    assert skip_reason(LINK, topic) is None


def test_given_another_separator_when_the_chain_is_read_then_it_is_split_there() -> None:
    assert comes_from("target__x", "target", "__")
    assert not comes_from("target.x", "target", "__")


def test_given_internal_topics_when_everything_is_selected_then_they_never_are() -> None:
    link = LINK.model_copy(update={"topics": TopicsConfig(include=(".*",), exclude=())})
    topics = {"__consumer_offsets": True, "oddly_internal": True, "__replicator_x_ledger": False, ".hidden": False}
    selection = select(link, topics | {"orders": False, "orders.internal": False}, ())
    assert selection.remote_names == {"orders": "source.orders", "orders.internal": "source.orders.internal"}
    assert selection.skipped.keys() == topics.keys()


def test_given_a_name_too_long_with_the_prefix_when_selected_then_that_topic_alone_has_a_problem() -> None:
    fits, too_long = "a" * (249 - len("source.")), "b" * (250 - len("source."))
    selection = select(LINK, {fits: False, too_long: False}, ())
    assert selection.remote_names.keys() == {fits}
    assert selection.problems[too_long].reason is Reason.TOPIC_NAME_INVALID
    assert "250 characters" in selection.problems[too_long].detail


def test_given_names_that_differ_in_dot_and_underscore_when_selected_then_only_the_first_or_present_one_is_copied() -> (
    None
):
    selection = select(LINK, {"a.b": False, "a_b": False}, ())
    assert selection.remote_names.keys() == {"a.b"}
    assert "'source.a_b' and 'source.a.b'" in selection.problems["a_b"].detail
    assert select(LINK, {"a.b": False, "a_b": False}, ["source.a_b"]).remote_names.keys() == {"a_b"}


@pytest.mark.parametrize("link", [LINK, IDENTICAL])
def test_given_heartbeats_when_selected_then_they_are_copied_by_chain_whatever_the_filters_say(
    link: LinkConfig,
) -> None:
    topics = link.topics.model_copy(update={"include": ("orders",), "exclude": (".*heartbeats",)})
    narrow = link.model_copy(update={"topics": topics})
    for name in ("target.heartbeats", "source.target.heartbeats"):
        assert "came from target" in (skip_reason(narrow, name) or "")
    found = select(narrow, dict.fromkeys(["heartbeats", "other.heartbeats", "my-heartbeats", "orders"], False), [])
    copies = {"heartbeats": "source.heartbeats", "other.heartbeats": "source.other.heartbeats"}
    assert found.remote_names == copies | {"orders": narrow.remote_topic("orders")}


def test_given_no_heartbeats_when_selected_then_topics_of_that_name_are_as_any_other() -> None:
    link = IDENTICAL.model_copy(update={"sync": IDENTICAL.sync.model_copy(update={"heartbeats": False})})
    assert link.remote_topic("heartbeats") == "heartbeats"
    assert skip_reason(link, "target.heartbeats") is None


def test_given_checkpoints_when_everything_is_selected_then_they_arent_copied() -> None:
    link = LINK.model_copy(update={"topics": TopicsConfig(include=(".*",), exclude=()), "separator": "_"})
    assert "checkpoints" in (skip_reason(link, "other_checkpoints_internal") or "")
    assert skip_reason(link, "checkpoints") is None
