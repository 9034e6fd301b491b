"""One link's part in reloads: hears the order, says which configuration is in force here."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence

from replicator.config.difference import fingerprint, section_of
from replicator.config.models import LinkConfig
from replicator.ledger.configuration import (
    ConfigurationRecords,
    Reload,
    Reloaded,
    encode_answer,
    encode_in_force,
)
from replicator.worker.control_writer import ControlWriter


def worker_name() -> str:
    """What this process is called in answers."""
    return f"{socket.gethostname()}:{os.getpid()}"


class Reloading:
    """`asked` is called once for each order that this process hasn't answered; it must lead to a call of `answer`, by
    this object or by its successor."""

    def __init__(self, link: LinkConfig, say: ControlWriter, asked: Callable[[Reload], None]) -> None:
        self._section = section_of(link)
        self._say = say
        self._asked = asked
        self._records = ConfigurationRecords()
        self._passed_on: set[Reload] = set()
        self._heard = self._said = False

    def replace(self, link: LinkConfig) -> None:
        """The link goes on with this configuration."""
        self._section = section_of(link)
        self._said = False

    def hear(self, pairs: Sequence[tuple[bytes | None, bytes | None]]) -> None:
        """What the control topic says, from its start on."""
        self._heard = True
        for key, value in pairs:
            self._records.take(key, value)
        for command in self._records.reloads.values():
            if command not in self._passed_on and (command.id, worker_name()) not in self._records.answers:
                self._passed_on.add(command)
                self._asked(command)

    async def step(self) -> None:
        """Say once what is in force here, if that isn't what stands there."""
        if self._heard and not self._said:
            if self._records.in_force != self._section:
                await self._say.write([encode_in_force(self._section)])
            self._said = True

    async def answer(self, command: Reload, error: str) -> None:
        """Say that the order was carried out; `error` is what was wrong with the file, or nothing."""
        await self._say.write([encode_answer(Reloaded(command.id, worker_name(), fingerprint(self._section), error))])
