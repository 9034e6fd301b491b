"""`replicator doctor`: everything that `check` looks at, and what else may trouble a link."""

from __future__ import annotations

import asyncio

from replicator.cli.check import end_with, told
from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, LinkOption, Output, OutputOption
from replicator.cli.reach import Direct, reach
from replicator.examine.doctor import diagnose
from replicator.examine.finding import of_configuration
from replicator.telemetry import logs


def doctor(config: ConfigOption = DEFAULT_CONFIG, link: LinkOption = None, output: OutputOption = Output.TEXT) -> None:
    """All that `check` reports, and besides: round trips, clocks, releases, quotas, disks, replicas, sizes that don't
    fit, and settings that suit the way between the clusters. Changes nothing.

    Exit codes as of `check`: warnings don't count. Through the API it is the worker that looks, from where it runs.
    """
    logs.configure(level="ERROR")
    links = reach(config, link)
    if isinstance(links, Direct):  # together: links share clusters
        found = asyncio.run(diagnose(links.settings, links.links))
        findings = [*of_configuration(links.warnings), *found]
    else:
        findings = told(links, "doctor")
    end_with(findings, output)
