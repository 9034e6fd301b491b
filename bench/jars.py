"""MirrorMaker 2's jars, fetched once through Maven beside those the tests use."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from functools import cache
from pathlib import Path

from tests.support.javatools import KAFKA_VERSION, cache_dir

_POM = Path(__file__).with_name("pom.xml")


@cache
def mirror_jars() -> Path:
    """The directory with them; RuntimeError with Maven's words if they can't be had."""
    directory = cache_dir() / "mirror"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with (directory.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if directory.is_dir():
            return directory
        partial = directory.with_name("mirror.partial")
        shutil.rmtree(partial, ignore_errors=True)
        command = ["mvn", "-q", "-B", "-f", str(_POM), f"-Dkafka.version={KAFKA_VERSION}"]
        command += ["dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"fetching MirrorMaker {KAFKA_VERSION} with Maven failed:\n{done.stdout}{done.stderr}")
        partial.rename(directory)
    return directory
