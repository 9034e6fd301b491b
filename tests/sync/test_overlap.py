from __future__ import annotations

from typing import Any

import pytest

from replicator.config.models import ClusterConfig, LinkConfig, Settings
from replicator.errors import ConfigurationError, UnreachableError
from replicator.sync import overlap as overlap_module
from replicator.sync.admin import Admin
from replicator.sync.overlap import overlap, refuse_overlaps

TOPICS = {"us": {"orders": False, "payments": False, "__x": True}, "ap": {"orders": False, "stock": False}}


def link(name: str, source: str = "us", **topics: Any) -> LinkConfig:
    return LinkConfig.model_validate({"name": name, "source": source, "target": "eu", "topics": topics})


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        (link("a"), link("b"), ["us.orders", "us.payments"]),
        (link("a", include=["orders"]), link("b", include=["pay.*"]), []),
        (link("a", exclude=["orders"]), link("b", include=["ord.*"]), []),
        (link("a"), link("b", "ap"), []),
        (link("a", naming="identical"), link("b", "ap", naming="identical"), ["orders"]),
        (link("a", naming="identical"), link("b"), []),
    ],
)
def test_given_two_links_to_one_cluster_then_the_topics_that_both_write_are_found(
    one: LinkConfig, other: LinkConfig, both: list[str]
) -> None:
    assert overlap(one, other, TOPICS) == both


async def test_given_conflicting_links_when_started_then_both_are_named_and_elsewhere_nothing_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clusters = {name: ClusterConfig(bootstrap_servers=f"{name}:9092") for name in ("us", "eu", "ap")}
    asked: list[str] = []

    async def listed(admin: Admin) -> dict[str, Any]:
        asked.append(admin.cluster)
        if admin.cluster == "ap":
            raise UnreachableError("away")
        return {name: type("T", (), {"internal": internal}) for name, internal in TOPICS[admin.cluster].items()}

    monkeypatch.setattr(overlap_module.Admin, "list_topics", listed)
    settings = Settings(clusters=clusters, links=(link("a"), link("b")))
    with pytest.raises(
        ConfigurationError, match=r"links a and b would both write us\.orders, us\.payments on cluster eu"
    ):
        await refuse_overlaps(settings, settings.links[:1])
    assert asked == ["us"]
    await refuse_overlaps(Settings(clusters=clusters, links=(link("a"), link("b", "ap"))), (link("a"),))
    asked.clear()
    back = LinkConfig(name="back", source="eu", target="us")
    await refuse_overlaps(Settings(clusters=clusters, links=(link("a"), back)), (link("a"),))
    assert asked == []


@pytest.mark.parametrize(
    ("origins", "source", "refused"), [("native", "ap", False), ("all", "ap", True), ("native", "us", True)]
)
async def test_given_links_of_a_full_mesh_that_keep_names_then_they_may_write_the_same_topics(
    monkeypatch: pytest.MonkeyPatch, origins: str, source: str, refused: bool
) -> None:
    async def listed(admin: Admin) -> dict[str, Any]:
        return {name: type("T", (), {"internal": internal}) for name, internal in TOPICS[admin.cluster].items()}

    monkeypatch.setattr(overlap_module.Admin, "list_topics", listed)
    clusters = {name: ClusterConfig(bootstrap_servers=f"{name}:9092") for name in ("us", "eu", "ap")}
    links = [link("a", naming="identical"), link("b", source, naming="identical")]
    links = [one.model_copy(update={"origins": origins}) for one in links]
    settings = Settings(clusters=clusters, links=tuple(links))
    if refused:
        with pytest.raises(ConfigurationError, match="orders"):
            await refuse_overlaps(settings, settings.links)
    else:
        await refuse_overlaps(settings, settings.links)
