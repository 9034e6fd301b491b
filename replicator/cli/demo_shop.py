"""What the demo's customers order."""

from __future__ import annotations

import random
from typing import Any

_ITEMS = ("espresso", "flat white", "cold brew", "croissant", "cinnamon roll", "green tea", "sandwich", "orange juice")
_CITIES = ("Berlin", "Boston", "Lyon", "Osaka", "Porto", "Quito", "Tallinn", "Zagreb")


def make_order(source: random.Random, number: int) -> dict[str, Any]:
    """An order with its number in its partition; the rest is up to `source`."""
    return {
        "number": number,
        "customer": source.randrange(10_000),
        "city": source.choice(_CITIES),
        "item": source.choice(_ITEMS),
        "pieces": source.randrange(1, 5),
        "cents": source.randrange(150, 2400),
    }
