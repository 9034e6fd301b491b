"""SCRAM credentials that were made while the cluster runs: they let users in, and outlive a restart."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AdminClient,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialDeletion,
    UserScramCredentialUpsertion,
)
from kio.schema.errors import ErrorCode

from broker.cluster import Cluster
from broker.node import Listener
from broker.security.credentials import Credentials
from broker.security.sasl import SaslServer
from tests.broker.test_security import Client


def cluster(directory: Path) -> Cluster:
    """A SASL listener first, and a plain one."""
    sasl = SaslServer(["SCRAM-SHA-256", "SCRAM-SHA-512"], Credentials({"alice": "of-alice"}))
    listeners = [Listener(name="SECURE", sasl=True), Listener(name="PLAINTEXT")]
    return Cluster(listeners=listeners, sasl=sasl, data_dir=directory)


async def alter(made: Cluster, *changes: UserScramCredentialUpsertion | UserScramCredentialDeletion) -> None:
    admin = AdminClient({"bootstrap.servers": made.bootstrap_of("PLAINTEXT")})
    for future in admin.alter_user_scram_credentials(list(changes)).values():
        await asyncio.to_thread(future.result, 10)


def upsertion(password: str, iterations: int = 4096) -> UserScramCredentialUpsertion:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, iterations)
    return UserScramCredentialUpsertion("carol", info, password.encode())


async def code(made: Cluster, password: str, mechanism: str = "SCRAM-SHA-512", user: str = "carol") -> ErrorCode:
    async with Client(made) as client:
        answer = await client.log_in(mechanism, user, password)
        return ErrorCode(answer.error_code)


async def test_given_a_user_made_by_librdkafka_then_they_log_in_until_they_are_removed_and_after_a_restart(
    tmp_path: Path,
) -> None:
    refused = ErrorCode.sasl_authentication_failed
    async with cluster(tmp_path) as made:
        assert await code(made, "first") is refused
        await alter(made, upsertion("first"))
        assert await code(made, "first") is ErrorCode.none
        assert await code(made, "other") is refused
        assert await code(made, "first", "SCRAM-SHA-256") is refused
        await alter(made, upsertion("second", 8192))
        assert (await code(made, "first"), await code(made, "second")) == (refused, ErrorCode.none)
        assert await code(made, "of-alice", user="alice") is ErrorCode.none
    text = (tmp_path / "cluster.json").read_text()
    assert "carol" in text
    assert "second" not in text
    async with cluster(tmp_path) as made:
        assert await code(made, "second") is ErrorCode.none
        await alter(made, UserScramCredentialDeletion("carol", ScramMechanism.SCRAM_SHA_512))
        assert await code(made, "second") is refused


async def test_given_the_name_of_a_principal_of_iam_then_no_credentials_are_made(tmp_path: Path) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    async with cluster(tmp_path) as made:
        with pytest.raises(KafkaException, match="can't be the name of a user"):
            await alter(made, UserScramCredentialUpsertion("arn:aws:iam::123456789012:root", info, b"x"))
        assert not made.scram.users
