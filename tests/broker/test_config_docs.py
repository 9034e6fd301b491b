"""Every topic property is documented, and the documentation tells the truth about what is acted upon."""

from __future__ import annotations

from broker.config_defs import ACTED_UPON, TOPIC_CONFIGS
from broker.config_docs import TOPIC_DOCUMENTATION


def test_given_topic_properties_when_documented_then_none_is_missing_or_unknown() -> None:
    assert set(TOPIC_DOCUMENTATION) == {name for name, known in TOPIC_CONFIGS.items() if not known.internal}


def test_given_a_property_without_effect_when_documented_then_it_says_so() -> None:
    silent = {name for name, text in TOPIC_DOCUMENTATION.items() if "Not acted upon here" in text}
    assert not silent & ACTED_UPON
    undecided = set(TOPIC_DOCUMENTATION) - silent - ACTED_UPON
    assert undecided == {"unclean.leader.election.enable"}
