"""The options of the verbs that change what a link does, and how they ask."""

from __future__ import annotations

from typing import Annotated

import typer

from replicator.cli.options import Output
from replicator.cli.output import console
from replicator.dr.holds import Say
from replicator.verbs.verb import nothing_said

TopicOption = Annotated[str | None, typer.Option("--topic", metavar="REGEX", help="Source topics, by full match.")]
AllOption = Annotated[bool, typer.Option("--all", help="All topics, also those that come later.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]
WaitOption = Annotated[float, typer.Option("--wait", metavar="SECONDS", min=0, help="How long to wait for workers.")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")]
WhyOption = Annotated[str, typer.Option("--why", metavar="TEXT", help="For others: it is shown, and kept.")]


def confirm(consequence: str, yes: bool) -> None:
    """Ask, saying what will come of it; ends the program if the answer is no."""
    if not yes:
        typer.confirm(f"{consequence} Go on?", abort=True)


def sayer(output: Output) -> Say:
    """Where progress goes: to the terminal, unless a program reads what is printed."""
    return console().print if output is Output.TEXT else nothing_said
