"""`python -m replicator.telemetry.document > docs/metrics.md`: the catalogue as a document for readers."""

from __future__ import annotations

from collections.abc import Sequence

from replicator.states import Reason, State
from replicator.telemetry.catalogue import CATALOGUE, PROCESS, SECTIONS, Metric
from replicator.telemetry.msk_metrics import MSK_METRICS, MskMetric

_HEAD = """\
# Metrics

<!-- Made by `python -m replicator.telemetry.document` from replicator/telemetry/catalogue.py: change that. -->

Every worker serves these at `/metrics`, in Prometheus' text format. Grafana dashboards that show them are in
[dashboards/grafana](../dashboards/grafana), recording and alert rules in
[dashboards/rules.yml](../dashboards/rules.yml). A worker tells of its own partitions alone: sum over the workers of a
link.

Prometheus: scrape each address of `service.http`, with the token as bearer token if there is one, and name
`dashboards/rules.yml` in `rule_files`. Grafana: import the four dashboards, or have a provider read their directory;
they need no plugin, and ask for the data source. They show every deployment that Prometheus scrapes; the variable Job
tells these apart.

What there isn't is a metric that shows 0 for what nobody knows: lag is absent while it is unknown, and the latency of a
time in which nothing was copied is `NaN`.
"""

_MSK = """\
Sent with `service.cloudwatch` ([docs/cloudwatch.md](cloudwatch.md)). ReplicatorName is the link's name, ClusterAlias an
alias. Use the statistic that is named, over the period that points are sent in (a minute): it is right over any number
of workers.
"""

_LABELS = (
    ("link", "The link's name."),
    ("topic", "The topic's name on the source."),
    (
        "partition",
        "Its number; `all` with `service.metrics_partitions`, which sums up each topic and gives lines of their own to "
        "so many of the partitions that are worst off: with thousands of partitions, set it to 20.",
    ),
    ("state", "Of a partition: {states}. Of a lane: `running`, `recovering`."),
    (
        "reason",
        "Why a partition is stopped: {reasons}. Why something isn't kept in step: for topics one of these, else "
        "`NOT_AUTHORIZED`, `UNSUPPORTED`, `REFUSED`, `NO_AUTHORIZER`, `ACTIVE`, `DIVERGED`, `NOT_COPIED`, `INEXACT`. "
        "Why a batch was rebuilt or dropped. Empty where there is none.",
    ),
    ("way", "`passed`, `rebuilt`, `dropped`."),
    ("syncer", "`topics`, `configs`, `acls`, `groups`, `checkpoints`, `heartbeats`."),
    ("result", "`ok`, `failed`."),
    ("cluster", "The alias of one of the link's two clusters."),
    (
        "why",
        "Of a refused request: `no token`, `wrong token`, `role`, `origin`. Of a dropped point: `full`, `refused`.",
    ),
    ("destination", "`file`, `cloudwatch_logs`, `firehose`, `s3`."),
    ("version, python", "Of Replicator, of Python."),
    ("worker", "With `--workers N`: `w0`, `w1`, … Absent otherwise."),
)


def document() -> str:
    """The whole of docs/metrics.md."""
    parts = [_HEAD, "## Labels\n", *_table(("label", "what it says"), [(f"`{n}`", _filled(t)) for n, t in _LABELS])]
    for section in SECTIONS:
        rows = [(f"`{shown(m)}`", m.kind, m.unit, ", ".join(m.labels), m.help) for m in section.metrics]
        parts += ["", f"## {section.title}\n", f"{section.about}\n"]
        parts += _table(("metric", "type", "unit", "labels", "what it says"), rows)
    parts += ["", "## In CloudWatch, under MSK Replicator's names\n", _MSK]
    parts += _table(
        ("metric", "dimensions", "unit", "statistic", "what it says", "here"), [_msk_row(m) for m in MSK_METRICS]
    )
    own, others = len(CATALOGUE), len(PROCESS)
    return "\n".join([*parts, "", f"{own} metrics of Replicator's own, and {others} of the process.", ""])


def _msk_row(metric: MskMetric) -> tuple[str, ...]:
    here = ", ".join(f"`{shown(each)}`" for each in CATALOGUE if each.name in metric.prometheus)
    dimensions = "; ".join(", ".join(names) for names in metric.dimensions)
    return f"`{metric.name}`", dimensions, metric.unit, metric.statistic, metric.meaning, here


def shown(metric: Metric) -> str:
    """The name to look for: that of the samples, or the common part of a histogram's."""
    return metric.name if metric.kind == "histogram" else metric.samples[0]


def _filled(text: str) -> str:
    return text.format(states=_words(State), reasons=_words(Reason))


def _words(words: type[State] | type[Reason]) -> str:
    return ", ".join(f"`{word.value}`" for word in words)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


if __name__ == "__main__":
    print(document(), end="")
