"""What a made-up service tells the console: links, topics and groups in the API's shapes, moving with the clock."""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

HOSTILE = [
    "<img src=x onerror=window.stolen=1>",
    '"><script>window.stolen=1</script>',
    "javascript:alert(1)//",
    "../..%2F%00?q=#/links",
    "\u202egnp.exe",
    "a" * 249,
]


class Clock:
    """The time of the made-up clusters; it can be made to run faster."""

    def __init__(self) -> None:
        self.speed = 1.0
        self._began = time.time()

    def __call__(self) -> float:
        return self._began + (time.time() - self._began) * self.speed


clock = Clock()
NAMES = ["orders", "payments", "shipments", "customers.profile", "inventory.levels", "clicks", "invoices", "audit.log"]
GROUPS = ["billing", "warehouse", "fraud-check", "search-index"]
RETENTION = (
    "Lengthen the source's retention so that it can't happen again, then restore the records from elsewhere, or "
    "accept the gap with `replicator resume --accept-gap`."
)
TOO_LARGE = "Raise max.message.bytes of the target topic above the size named here; copying goes on by itself."
Row = dict[str, Any]


def iso(time_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time_s)) + f".{int(time_s % 1 * 1000):03d}Z"


@dataclass
class LinkWorld:
    """One link of `topics` with `partitions` each. Everything follows from the numbers and the time."""

    name: str
    source: str = "us"
    target: str = "eu"
    topics: list[str] = field(default_factory=lambda: list(NAMES))
    partitions: int = 6
    workers: int = 3
    rate: float = 240.0
    paused: tuple[str, ...] = ()
    faulted: dict[tuple[str, int], tuple[str, str, str]] = field(default_factory=dict)
    held: str = ""  # a state that all are in
    source_error: str | None = None
    groups: list[str] = field(default_factory=lambda: list(GROUPS))
    began: float = field(default_factory=lambda: clock() - 86_400)
    still: bool = False
    audit: list[Row] = field(default_factory=list)

    def status(self) -> Row:
        now = self.began + 86_400 if self.still else clock()
        rows = [self._partition(t, p, now) for t in range(len(self.topics)) for p in range(self.partitions)]
        return {
            "name": self.name,
            "source": self.source,
            "target": self.target,
            "workers": self.worker_rows(),
            "partitions": sorted(rows, key=lambda row: (row["topic"], row["partition"])),
            "source_error": self.source_error,
            "source_seen": iso(now - 4) if self.source_error else None,
            "syncs": [],
        }

    def _partition(self, t: int, p: int, now: float) -> Row:
        topic = self.topics[t]
        share = self.rate * (1 + (t * 7 + p * 3) % 11 / 5)
        wave = 1 + math.sin(now / 19 + t + p / 2)
        lag = 0 if (t + p) % 3 else int(share * wave)
        end = int((now - self.began) * share)
        state, reason, detail, step = "COPYING", None, "", ""
        if topic in self.paused or self.held:
            state, detail = self.held or "PAUSED", "pause by ana@ops-1: network work until six."
        if (topic, p) in self.faulted:
            state = "FAULTED"
            reason, detail, step = self.faulted[topic, p]
            lag = int(share * 31)
        return {
            "topic": topic,
            "partition": p,
            "state": state,
            "reason": reason,
            "since": iso(now - (311 if reason else 7260)),
            "source_end": end,
            "source_next": end - lag,
            "target_next": end - lag + 3,
            "lag": lag,
            "lag_ms": int(lag / share * 1000) if lag else 0,
            "detail": detail,
            "next_step": step,
            "gaps": [],
            "settled": False,
            "confirmed": True,
            "lane": (t * self.partitions + p) % 12,
        }

    def worker_rows(self) -> list[Row]:
        lanes = [list(range(each, 12, self.workers)) for each in range(self.workers)]
        return [
            {
                "member_id": f"replicator-{self.name}-{n}-5b0e7d3c-61f2-4a53-9c54-0d0f1c2b{n:04d}",
                "client_id": f"{self.name}-worker-{n}",
                "host": f"/10.20.0.{11 + n}",
                "lanes": lanes[n],
            }
            for n in range(self.workers)
        ]

    def summary(self, status: Row) -> Row:
        rows = status["partitions"]
        behind = max(rows, key=lambda row: row["lag"] or 0, default=None)
        keys = ("topic", "partition", "lag", "lag_ms")
        moving = sum(row["state"] == "COPYING" for row in rows)
        records = self.rate * 2 * moving * (1 + math.sin(clock() / 17) / 8)
        return {
            "name": self.name,
            "source": self.source,
            "target": self.target,
            "workers": self.workers,
            "partitions": len(rows),
            "states": dict(Counter(row["state"] for row in rows)),
            "lag": sum(row["lag"] for row in rows),
            "lag_ms": max((row["lag_ms"] for row in rows), default=0),
            "faults": sum(row["state"] == "FAULTED" for row in rows),
            "worst": {key: behind[key] for key in keys} if behind else None,
            "records_per_s": records,
            "bytes_per_s": records * 940,
            "source_error": self.source_error,
            "error": None,
        }

    def topic_rows(self) -> list[Row]:
        shown = {"reason": None, "detail": ""}
        rows = [
            {
                "topic": topic,
                "selected": True,
                "remote": f"{self.source}.{topic}",
                "created": True,
                "partitions": self.partitions,
                "remote_partitions": self.partitions,
                **shown,
            }
            for topic in self.topics
        ]
        left_out = {"selected": False, "remote": None, "created": False, "partitions": None, "remote_partitions": None}
        rows.append({"topic": "scratch", **left_out, **shown, "detail": "topics.include doesn't match it"})
        return rows

    def group_rows(self) -> list[Row]:
        return [
            {"group": group, "positions": [self._position(t, p, g) for t in range(len(self.topics)) for p in range(2)]}
            for g, group in enumerate(self.groups)
        ]

    def _position(self, t: int, p: int, g: int) -> Row:
        at = 1_204_331 + t * 977 + g * 31
        inexact, active = (t + g) % 7 == 3, (t + g) % 9 == 5
        return {
            "topic": self.topics[t],
            "partition": p,
            "source_offset": at,
            "lag": (t * 37 + g * 211) % 900,
            "target_topic": f"{self.source}.{self.topics[t]}",
            "target_offset": at + 3,
            "translated": at + 3,
            "exact": not inexact,
            "error_bound": 12 if inexact else 0,
            "where": "inside",
            "smaller_of_two": False,
            "synced": not active,
            "why": "ACTIVE" if active else None,
            "detail": "the group has members on eu: its position there is its own" if active else "",
        }

    def outlook(self) -> Row:
        rows = self.status()["partitions"]
        unknown = {id(row) for row in rows[3:5]} if self.source_error else set()
        losses = [
            {
                "topic": row["topic"],
                "partition": row["partition"],
                "copied_to": row["source_next"],
                "source_end": -1 if id(row) in unknown else row["source_end"],
                "records": None if id(row) in unknown else row["lag"],
                "seconds": None if id(row) in unknown else row["lag_ms"] / 1000,
            }
            for row in rows
        ]
        due = sum(row["state"] != "FAILED_OVER" for row in rows)
        lost = sum(loss["records"] or 0 for loss in losses)
        return {
            "link": self.name,
            "source": self.source,
            "source_error": self.source_error,
            "source_seen": iso(clock() - 4) if self.source_error else None,
            "partitions": len(rows),
            "due": due,
            "lost_records": lost,
            "unknown_partitions": len(unknown),
            "losses": losses,
        }


def differences(link: LinkWorld) -> Row:
    return {
        "name": link.name,
        "source": link.source,
        "target": link.target,
        "changes": [
            {
                "kind": "setting",
                "resource": "topic us.orders",
                "what": "retention.ms",
                "before": "604800000",
                "after": "1209600000",
            },
            {
                "kind": "acl",
                "resource": "topic us.payments",
                "what": "ALLOW Read for User:billing from *",
                "before": None,
                "after": "granted",
            },
        ],
        "held": [
            {
                "kind": "setting",
                "resource": "topic us.clicks",
                "why": "REFUSED",
                "detail": "max.message.bytes: the target's policy allows 1048588 at most",
            },
            {
                "kind": "group",
                "resource": "billing",
                "why": "ACTIVE",
                "detail": "the group has members on eu: its position there is its own",
            },
        ],
    }


def obstacles(link: LinkWorld) -> list[Row]:
    found = [
        {
            "kind": "state",
            "where": f"{topic}-{partition}",
            "what": f"FAULTED {reason} {detail}",
            "next_step": step,
            "blocks": True,
        }
        for (topic, partition), (reason, detail, step) in link.faulted.items()
    ]
    if link.topics:
        lag = {"kind": "lag", "where": f"{link.topics[0]}-0", "what": "312 records behind", "blocks": True}
        found.append({**lag, "next_step": "Wait, or stop its producers."})
    return found


def demo_links() -> list[LinkWorld]:
    """Three links in different moods: for screenshots."""
    lost = "Source offsets 118204 to 118903 were deleted before they were copied."
    large = "A record of 2310044 bytes at offset 90417; max.message.bytes of us.clicks is 1048588."
    faulted = {
        ("payments", 3): ("RETENTION_OVERRUN", lost, RETENTION),
        ("clicks", 1): ("RECORD_TOO_LARGE", large, TOO_LARGE),
        ("clicks", 4): ("RECORD_TOO_LARGE", large, TOO_LARGE),
    }
    first = LinkWorld("us-to-eu", faulted=faulted, paused=("audit.log",), audit=trail("us-to-eu"))
    away = "cluster ap: no answer from broker-1.ap:9092 within 3 s (connection refused)"
    return [
        first,
        LinkWorld("eu-to-us", source="eu", target="us", rate=90, workers=2),
        LinkWorld("ap-to-eu", source="ap", target="eu", topics=NAMES[:4], rate=40, source_error=away, workers=2),
    ]


def trail(link: str) -> list[Row]:
    now = clock()
    done = [
        (620, "ana@ops-1", "pause", "--topic audit\\.log", "ok", "6 partitions", 412),
        (4_210, "ben@ops-2", "promote", "--all", "refused", f"link {link}: producers still write: orders", 120_310),
        (4_530, "api:ci@10.20.0.9", "failover", "--all", "refused", "token ci may only view", 2),
        (86_500, "ana@ops-1", "resume", "--topic orders --accept-gap", "ok", "1 partition, 118 records missing", 890),
        (90_000, "ana@ops-1", "restore", "--all", "failed", "cluster us: no answer within 10 s", 10_030),
    ]
    return [
        {
            "link": link,
            "id": f"{n}",
            "by": by,
            "at_ms": int((now - before) * 1000),
            "at": iso(now - before),
            "verb": verb,
            "what": what,
            "result": result,
            "detail": detail,
            "took_ms": took_ms,
        }
        for n, (before, by, verb, what, result, detail, took_ms) in enumerate(done)
    ]
