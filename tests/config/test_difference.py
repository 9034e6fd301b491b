"""What two configurations say differently."""

from __future__ import annotations

from replicator.config.difference import KeyChange, fingerprint, key_changes, same_link, section_of
from replicator.config.load import load_text

FILE = """
clusters: {us: {bootstrap_servers: "a:1"}, eu: {bootstrap_servers: "b:1"}, ap: {bootstrap_servers: "c:1"}}
links:
  - {name: one, source: us, target: eu, topics: {include: [x]}}
  - {name: two, source: us, target: ap}
"""


def test_given_the_same_text_then_nothing_differs_and_fingerprints_are_equal() -> None:
    one, other = load_text(FILE).settings, load_text(FILE).settings
    assert same_link("one", one, other)
    assert key_changes(section_of(one.link("one")), section_of(other.link("one"))) == []
    assert fingerprint(section_of(one.link("one"))) == fingerprint(section_of(other.link("one")))


def test_given_another_filter_then_its_key_is_named_with_both_values() -> None:
    one, other = load_text(FILE).settings, load_text(FILE.replace("[x]", "[x, z]")).settings
    before, after = section_of(one.link("one")), section_of(other.link("one"))
    assert key_changes(before, after) == [KeyChange("topics.include", ["x"], ["x", "z"])]
    assert fingerprint(before) != fingerprint(after)
    assert same_link("two", one, other)


def test_given_a_key_that_one_side_does_not_have_then_it_is_none_there() -> None:
    assert key_changes({"a": {"b": 1}}, {"a": {}}) == [KeyChange("a.b", 1, None)]


def test_given_another_address_then_the_links_of_that_cluster_have_changed_and_no_others() -> None:
    one, other = load_text(FILE).settings, load_text(FILE.replace("b:1", "b:2")).settings
    assert not same_link("one", one, other)
    assert same_link("two", one, other)
