"""A replicator's process: what it says when it can't start, and that it ends with its parent."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from broker.msk.replicators.process import Launch, ProcessFailed, ReplicatorProcess, run_tool


def _launch(folder: Path, text: str) -> Launch:
    file = folder / "replicator.yaml"
    file.write_text(text)
    return Launch(file=file, link="a-to-b", environment=dict(os.environ), socket=folder / "socket")


@pytest.mark.slow
async def test_one_that_cannot_use_its_file_says_why_in_words_and_that_trying_again_is_of_no_use(
    tmp_path: Path,
) -> None:
    launch = _launch(tmp_path, "clusters: {a: {bootstrap_servers: nonsense}}\nlinks: []\n")
    launch.log.write_text("error: of an earlier life\n")
    process = await ReplicatorProcess.start(launch)
    with pytest.raises(ProcessFailed, match="nonsense") as caught:
        await process.ready()
    assert caught.value.final
    assert "earlier life" not in str(caught.value)
    assert "{" not in str(caught.value).splitlines()[0]
    await process.stop()


async def test_a_tool_that_fails_says_why(tmp_path: Path) -> None:
    launch = _launch(tmp_path, "clusters: {}\nlinks: []\n")
    with pytest.raises(ProcessFailed, match="links"):
        await run_tool(launch, "broker.msk.replicators.listing", str(launch.file), "a-to-b")


def test_a_process_ends_when_the_control_plane_is_gone(tmp_path: Path) -> None:
    file = tmp_path / "replicator.yaml"
    file.write_text(
        "clusters: {a: {bootstrap_servers: '127.0.0.1:1'}, b: {bootstrap_servers: '127.0.0.1:2'}}\n"
        "links: [{name: a-to-b, source: a, target: b}]\n"
        f"service: {{http: 'unix:{tmp_path}/s'}}\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-m", "broker.msk.replicators.child", "run", "-c", str(file)],
        stdin=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(60) in (0, -signal.SIGTERM, 3)
    finally:
        child.kill()
        child.wait()


def test_ready_gives_up_when_the_process_is_killed(tmp_path: Path) -> None:
    launch = _launch(
        tmp_path,
        "clusters: {a: {bootstrap_servers: '127.0.0.1:1'}, b: {bootstrap_servers: '127.0.0.1:2'}}\n"
        "links: [{name: a-to-b, source: a, target: b}]\n"
        f"service: {{http: 'unix:{tmp_path}/s'}}\n",
    )

    async def scene() -> None:
        process = await ReplicatorProcess.start(launch)
        process.process.kill()
        with pytest.raises(ProcessFailed) as caught:
            await process.ready()
        assert not caught.value.final

    asyncio.run(scene())
