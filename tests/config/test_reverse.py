"""A link's way back: what it takes from the other, and what it refuses."""

from __future__ import annotations

import pytest

from replicator.config.load import load_text
from replicator.config.models import LinkConfig, Settings
from replicator.errors import ConfigurationError
from replicator.ledger.desired import DesiredStates
from replicator.ledger.selection import skip_reason
from replicator.states import State

FILE = """\
clusters:
  us: {bootstrap_servers: "b1:9092"}
  eu: {bootstrap_servers: "b2:9092"}
links:
  - name: there
    source: us
    target: eu
    lanes: 7
    delete_topics: true
    topics: {include: ["orders.*", "us[.].*"], naming: NAMING, start: latest}
    groups: {include: [billing]}
    sync: {every: 2}
  - name: back
    reverse_of: there
    sync: {every: 3}
"""


def loaded(naming: str = "prefix", more: str = "") -> Settings:
    return load_text(FILE.replace("NAMING", naming) + more).settings


def links(naming: str = "prefix") -> tuple[Settings, LinkConfig, LinkConfig]:
    settings = loaded(naming)
    return settings, settings.link("there"), settings.link("back")


def test_given_a_way_back_then_it_is_the_other_link_turned_round_but_for_what_it_says_itself() -> None:
    settings, there, back = links()
    assert (back.source, back.target, back.lanes, back.groups) == ("eu", "us", 7, there.groups)
    assert (back.sync.every, back.sync.heartbeats, back.sync.checkpoints, back.delete_topics) == (
        3,
        False,
        False,
        False,
    )
    assert back.topics.start == "earliest"
    assert settings.counterpart(there) is back
    assert settings.counterpart(back) is there
    assert settings.mixes(there)
    assert settings.mixes(back)
    assert settings.returns(back)
    assert not settings.returns(there)
    assert not settings.closes(back)


@pytest.mark.parametrize(
    ("naming", "taken"),
    [
        ("prefix", {"us.orders": "orders", "us.us.x": "us.x"}),
        (
            "identical",
            {name: name for name in ("orders", "orders-2", "us.orders", "us.eu.orders", "us.x", "us.us.x", "us.other")},
        ),
    ],
)
def test_given_a_way_back_then_it_takes_the_copies_alone_and_gives_them_their_names_back(
    naming: str, taken: dict[str, str]
) -> None:
    _, _, back = links(naming)
    names = ("orders", "orders-2", "us.orders", "us.eu.orders", "us.x", "us.us.x", "other", "us.other", "us.heartbeats",
             "heartbeats", "__replicator_there_ledger", "us.us.checkpoints.internal")  # fmt: skip
    found = {name: back.remote_topic(name) for name in names if skip_reason(back, name) is None}
    assert found == taken


def test_given_a_way_back_of_which_nothing_was_said_then_it_sleeps() -> None:
    _, there, back = links()
    assert DesiredStates.of_link(back).of("us.orders").state is State.ASLEEP
    assert DesiredStates.of_link(back).of("us.orders").released
    assert "replicator reverse --link there" in DesiredStates.of_link(back).of("us.orders").text
    assert DesiredStates.of_link(there).of("orders").state is State.COPYING


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("  - {name: b2, reverse_of: ther}\n", "there is no link ther; did you mean `there`?"),
        ("  - {name: b2, reverse_of: there}\n", "are both the way back of there"),
        ("  - {name: b2, reverse_of: back}\n", "is itself the way back of there"),
        ("    source: us\n", "link back: source can't be set"),
        ("    delivery: at_least_once\n", "at_least_once can't be used"),
    ],
)
def test_given_a_way_back_that_cannot_be_then_it_is_refused(more: str, said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        loaded(more=more)
    assert said in str(caught.value)
