"""The documents' blocks, and the commands in them."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DOCUMENTS = (
    "README.md",
    "CONTRIBUTING.md",
    "DESIGN.md",
    *sorted(f"docs/{p.name}" for p in (ROOT / "docs").glob("*.md")),
)
RUNBOOKS = tuple(sorted(f"docs/runbooks/{p.name}" for p in (ROOT / "docs" / "runbooks").glob("*.md")))

# What runs a command elsewhere; the command itself is run here.
_AROUND = re.compile(r"^(docker compose exec \S+|kubectl (-n \S+ )?exec \S+ --) (?=replicator )")


def blocks(document: str, language: str) -> list[str]:
    """The document's blocks of that language, also those in lists."""
    found = re.findall(rf"^ *```{language}\n(.*?)^ *```", (ROOT / document).read_text(), re.M | re.S)
    return [textwrap.dedent(block) for block in found]


def shell_lines(document: str, kind: str = r"sh[ a-z]*") -> list[list[str]]:
    """The words of every command line in the document's shell blocks, without comments and what is around it."""
    lines = [line for block in blocks(document, kind) for line in block.splitlines()]
    split = [shlex.split(_AROUND.sub("", line), comments=True) for line in lines]
    return [words for words in split if words]


def commands(program: str, *, leave_out: tuple[str, ...] = ()) -> list[list[str]]:
    """Every line that calls this program."""
    lines = [words for document in DOCUMENTS if document not in leave_out for words in shell_lines(document)]
    return [words for words in lines if words[0] == program]


class Everything(Mapping[str, str]):
    """An environment in which every variable is set."""

    def __getitem__(self, name: str) -> str:
        return "secret"

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def make_files(text: str, folder: Path) -> None:
    """The files that a configuration names, each with something else in it."""
    for name in re.findall(r"\b(?:file|ca_file|cert_file|key_file): ([\w.-]+)", text):
        (folder / name).write_text(f"secret of {name}")
