from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from replicator.ledger.identity import NO_ID, Identity, identify
from tests.ledger.test_entry import ENTRY

SOURCE, TARGET, OTHER = ENTRY.source_topic_id, ENTRY.target_topic_id, UUID(int=99)


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        (SOURCE, TARGET, Identity.SAME),
        (NO_ID, NO_ID, Identity.SAME),
        (OTHER, TARGET, Identity.SOURCE_RECREATED),
        (SOURCE, OTHER, Identity.TARGET_RECREATED),
        (SOURCE, None, Identity.TARGET_MISSING),
        (None, TARGET, Identity.SOURCE_MISSING),
        (OTHER, None, Identity.RESTART),
        (OTHER, OTHER, Identity.RESTART),
    ],
)
def test_given_an_entry_when_topics_were_deleted_or_made_anew_then_it_is_noticed(
    source: UUID | None, target: UUID | None, expected: Identity
) -> None:
    found = identify(ENTRY, source, target)
    assert found is expected
    assert (found.reason is None) == (expected in (Identity.SAME, Identity.RESTART))


def test_given_an_entry_from_before_its_target_topic_when_that_is_missing_then_nothing_is_wrong() -> None:
    assert identify(replace(ENTRY, target_topic_id=NO_ID), SOURCE, None) is Identity.SAME
