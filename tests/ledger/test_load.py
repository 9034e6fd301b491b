from __future__ import annotations

from dataclasses import replace

import pytest

from replicator.ledger.entry import LedgerFormatError, encode_entry, encode_key
from replicator.ledger.load import entries_from_records
from tests.ledger.test_entry import ENTRY


def test_given_a_ledger_in_log_order_when_read_then_the_last_entry_wins_and_tombstones_remove() -> None:
    other = replace(ENTRY, topic="payments", partition=0)
    records = [
        (encode_key("orders", 3), encode_entry(replace(ENTRY, source_next=1))),
        (encode_key("payments", 0), encode_entry(other)),
        (b"\x07some later kind", b"value"),
        (encode_key("orders", 3), encode_entry(ENTRY)),
        (encode_key("payments", 0), None),
    ]
    assert entries_from_records(records) == {("orders", 3): ENTRY}


def test_given_a_damaged_entry_when_the_ledger_is_read_then_it_stops_instead_of_forgetting_the_partition() -> None:
    with pytest.raises(LedgerFormatError, match="orders-3"):
        entries_from_records([(encode_key("orders", 3), encode_entry(ENTRY)[:20])])
