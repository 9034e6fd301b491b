"""The Go relay's program, built from `bench/relay` when it is needed."""

from __future__ import annotations

import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.support.javatools import cache_dir

_SOURCE = Path(__file__).with_name("relay")


@cache
def relay_program() -> Path:
    """Its path; RuntimeError with Go's words if it can't be built."""
    go = shutil.which("go")
    if go is None:
        raise RuntimeError("`go` isn't on PATH: --go needs it, or leave --go out")
    program = cache_dir() / "relay"
    program.parent.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        [go, "build", "-o", str(program), "."], cwd=_SOURCE, capture_output=True, text=True, timeout=600, check=False
    )
    if done.returncode != 0:
        raise RuntimeError(f"building bench/relay failed:\n{done.stdout}{done.stderr}")
    return program
