"""The order to leave a link holds as long as the claim of who gave it."""

from __future__ import annotations

from uuid import UUID

from replicator.ledger.leaving import Leave, LeaveOrders, encode_leave, leave_key
from replicator.ledger.operations import LEASE_MS, Claim, claim_key, encode_claim

ID = UUID(int=7)
ORDER = Leave(ID, "ann@ops")


def claim(seen_ms: int, number: UUID = ID) -> tuple[bytes, bytes | None]:
    return encode_claim(Claim(number, "ann@ops", "host", 1, "remove", 0, seen_ms))


def test_given_an_order_when_its_claim_lives_then_it_stands() -> None:
    orders = LeaveOrders()
    for pair in (claim(1_000), encode_leave(ORDER)):
        orders.take(*pair)
    assert orders.standing(2_000) == ORDER
    assert orders.standing(1_000 + LEASE_MS) is None, "who gave it hasn't been seen for a minute"
    orders.take(*claim(50_000))
    assert orders.standing(1_000 + LEASE_MS) == ORDER, "renewed"


def test_given_an_order_when_it_is_taken_back_or_its_claim_given_up_then_it_is_over() -> None:
    for over in (leave_key(ID), claim_key(ID)):
        orders = LeaveOrders()
        for pair in (claim(1_000), encode_leave(ORDER), (over, None)):
            orders.take(*pair)
        assert orders.standing(2_000) is None


def test_given_records_that_are_no_orders_then_they_change_nothing() -> None:
    orders = LeaveOrders()
    key, value = encode_leave(ORDER)
    assert value is not None
    later = (key, value.replace(b'"version":1', b'"version":9'))
    for pair in ((None, b"x"), (b"leave/what", b"{}"), (key, b"{"), (key, b"[]"), (key, b'{"version":1}'), later):
        orders.take(*pair)
    orders.take(*claim(1_000))
    assert orders.orders == {}
    assert orders.standing(1_000) is None


def test_given_another_command_that_works_on_the_link_then_it_is_no_order() -> None:
    orders = LeaveOrders()
    orders.take(*encode_leave(ORDER))
    orders.take(*claim(1_000, UUID(int=8)))
    assert orders.standing(1_000) is None
