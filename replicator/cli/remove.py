"""`replicator remove`: end a link for good."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from replicator.cli.options import DEFAULT_CONFIG, ConfigOption, Output, OutputOption, load_links
from replicator.cli.output import console, print_json
from replicator.cli.verbs import DryRunOption, YesOption, confirm
from replicator.dr import remove as dr
from replicator.errors import ConfigurationError
from replicator.telemetry import logs


def remove(
    config: ConfigOption = DEFAULT_CONFIG,
    link: Annotated[
        list[str] | None, typer.Option("--link", metavar="NAME", help="The link; may be given more than once.")
    ] = None,
    save_audit: Annotated[
        Path | None,
        typer.Option("--save-audit", metavar="FILE", help="Where the audit trail goes; else removed-LINK-TIME.json."),
    ] = None,
    dry_run: DryRunOption = False,
    yes: YesOption = False,
    output: OutputOption = Output.TEXT,
) -> None:
    """End a link for good: delete its internal topics, the ACLs that it created, and its consumer groups.

    Copies stay, with their data, settings and positions. It is the whole link that goes, so there are no --topic and
    --all: single topics leave it by the configuration's filters. No worker may run for it. Harmless to run again.
    """
    logs.configure(level="ERROR")
    if not link:
        raise ConfigurationError("name the link that is to go: --link NAME")
    if save_audit is not None and len(link) > 1:
        raise ConfigurationError("--save-audit names one file: remove one link at a time")
    settings, _, _ = load_links(config, None)
    chosen = [load_links(config, name)[1][0] for name in dict.fromkeys(link)]
    for item in chosen:
        dr.refuse_needed(settings, item, {each.name for each in chosen})
    found = {item.name: dr.belongings(settings, item) for item in chosen}
    if output is Output.TEXT:
        for name, each in found.items():
            show(name, each)
    if not dry_run:
        for item in chosen:
            dr.refuse_running(item, found[item.name])
        if any(found.values()):
            topics = sum(len(each.topics) for each in found.values())
            text = "its positions are gone then: a link of that name can't go on where this one was"
            confirm(f"{topics} internal topics are deleted, with what they know; {text}.", yes)
        say = console().print if output is Output.TEXT else (lambda text: None)
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        for item in chosen:
            file = save_audit or Path(f"removed-{item.name}-{stamp}.json")
            found[item.name] = dr.remove(settings, item, save_audit=file, say=say)
    if output is Output.JSON:
        print_json({"links": [{"link": name, **each.as_json()} for name, each in found.items()], "dry_run": dry_run})
    elif dry_run:
        console().print("Nothing was changed.")
    else:
        console().print("Now take it out of the configuration." if len(chosen) == 1 else "Now take them out of it.")


def show(name: str, found: dr.Belongings) -> None:
    """What goes, one thing a line."""
    out = console()
    if not found:
        out.print(f"{name}: nothing is left of it.")
    for topic in found.topics:
        out.print(f"{name}: topic {topic}")
    for cluster, group in found.groups:
        out.print(f"{name}: group {group} on {cluster}")
    for acl in found.acls:
        out.print(f"{name}: ACL on {acl.resource}: {acl.permission} {acl.what}", soft_wrap=True)
    for note in found.notes:
        out.print(f"{name}: {note}", soft_wrap=True)
