"""`replicator completion`: the shell's script that completes verbs and options."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer
from typer.completion import get_completion_script  # type: ignore[attr-defined]


class Shell(StrEnum):
    """Shells that have completion."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="Your shell.")]) -> None:
    """Print the completion script of a shell: eval "$(replicator completion bash)"."""
    typer.echo(get_completion_script(prog_name="replicator", complete_var="_REPLICATOR_COMPLETE", shell=shell.value))
