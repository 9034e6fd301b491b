"""The files that say how Replicator is run for real, and the tools that judge them."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parent.parent.parent


def read_yaml(path: str) -> Any:
    """One document of the repository."""
    return yaml.safe_load((ROOT / path).read_text())


def tool(name: str, package: str) -> str:
    """The path of a program, of this environment or of the system; skips where it isn't, but fails under CI=true."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if found is None:
        missing = f"no {name} on this machine (it comes with {package})"
        if os.environ.get("CI") == "true":
            pytest.fail(f"{missing}, required because CI=true", pytrace=False)
        pytest.skip(missing)
    return found
