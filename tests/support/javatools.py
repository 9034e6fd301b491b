"""Apache Kafka's jars, and its command-line tools run from them.

The jars are fetched once through Maven into `${XDG_CACHE_HOME:-~/.cache}/replicator-tests/kafka-<version>/`.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

KAFKA_VERSION = "4.1.1"
_POM = Path(__file__).with_name("pom.xml")
_IAM_AUTH_VERSION = "2.3.5"
_SMALL_JVM = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto")


def missing() -> str | None:
    """Why real Kafka can't run here, or None."""
    for program, package in (("java", "a JDK, 17 or newer"), ("mvn", "Maven")):
        if shutil.which(program) is None:
            return f"`{program}` isn't on PATH: real-Kafka tests need {package}"
    return None


def cache_dir(version: str = KAFKA_VERSION) -> Path:
    """Where downloaded and derived files are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "replicator-tests" / f"kafka-{version}"


@cache
def jars(version: str = KAFKA_VERSION) -> Path:
    """The directory with Kafka's jars, fetched if this is the first time; concurrent callers wait for one another."""
    directory = cache_dir(version) / "libs"
    directory.parent.mkdir(parents=True, exist_ok=True)
    with (directory.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if directory.is_dir():
            return directory
        partial = directory.with_name("libs.partial")
        shutil.rmtree(partial, ignore_errors=True)
        command = ["mvn", "-q", "-B", "-f", str(_POM), f"-Dkafka.version={version}"]
        command += ["dependency:copy-dependencies", f"-DoutputDirectory={partial}"]
        command += ["-DexcludeArtifactIds=slf4j-log4j12,slf4j-reload4j"]  # older ones bring a binding of their own
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode != 0:
            raise RuntimeError(f"fetching Kafka {version} with Maven failed:\n{done.stdout}{done.stderr}")
        partial.rename(directory)
    return directory


@cache
def iam_auth_jar() -> Path:
    """Amazon's `aws-msk-iam-auth`, with all that it needs inside, fetched if this is the first time."""
    name = f"aws-msk-iam-auth-{_IAM_AUTH_VERSION}-all.jar"
    directory = cache_dir().parent / "aws-msk-iam-auth"
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / name).is_file():
            artifact = f"-Dartifact=software.amazon.msk:aws-msk-iam-auth:{_IAM_AUTH_VERSION}:jar:all"
            command = ["mvn", "-q", "-B", "dependency:copy", artifact, f"-DoutputDirectory={directory}"]
            done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
            if done.returncode != 0:
                raise RuntimeError(f"fetching {name} with Maven failed:\n{done.stdout}{done.stderr}")
    return directory / name


def java_command(
    main: str, *args: str, jvm: Sequence[str] = (), version: str = KAFKA_VERSION, more: Sequence[Path] = ()
) -> list[str]:
    """The command line that runs a class of Kafka's jars, and `more`, in a small JVM."""
    return [*small_jvm(jars(version), jvm=jvm, more=more), main, *args]


def small_jvm(
    libraries: Path, *, jvm: Sequence[str] = (), heap: str | None = None, more: Sequence[Path] = ()
) -> list[str]:
    """The beginning of a command line: a JVM with all jars of a directory, and `more`, which logs warnings only."""
    limits = () if heap is None else (f"-Xmx{heap}",)
    logging = "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"
    path = ":".join((f"{libraries}/*", *map(str, more)))
    return ["java", *_SMALL_JVM, *limits, *jvm, "-cp", path, logging]


def run_command(command: Sequence[str], timeout: float = 60) -> str:
    """Run it to its end; what it printed. AssertionError if it fails."""
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout, check=False
    )
    assert done.returncode == 0, f"{command[-1]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


def run_tool(
    main: str,
    *args: str,
    stdin: str | bytes | None = None,
    timeout: float = 60,
    env: Mapping[str, str] | None = None,
    check: bool = True,
    version: str = KAFKA_VERSION,
    more: Sequence[Path] = (),
) -> subprocess.CompletedProcess[str]:
    """Run a Kafka tool, for example `org.apache.kafka.tools.TopicCommand`, to its end. `more` are jars beside Kafka's.

    AssertionError with the tool's output if it fails and `check` is set.
    """
    data = stdin.encode() if isinstance(stdin, str) else stdin
    done = subprocess.run(
        java_command(main, *args, jvm=("-Xmx128m",), version=version, more=more),
        input=data,
        stdin=subprocess.DEVNULL if data is None else None,
        capture_output=True,
        timeout=timeout,
        env=None if env is None else {**os.environ, **env},
        check=False,
    )
    result = subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
    if check and result.returncode != 0:
        raise AssertionError(f"{main} ended with {result.returncode}:\n{result.stdout}{result.stderr}")
    return result
