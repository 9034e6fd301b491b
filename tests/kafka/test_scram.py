"""SCRAM credentials of users: made, shown and removed as Kafka does it (KIP-554)."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from kio.schema.errors import ErrorCode

from tests.kafka.guarded import CLUSTER, CLUSTER_NAME, DESCRIBE, Guarded, Rule
from tests.kafka.scene import unique
from tests.support.javatools import run_tool
from tests.support.waiting import wait_for

SHA_256, SHA_512 = 1, 2
SALT = b"some salt of ours"


def upsert(user: str, mechanism: int = SHA_512, iterations: int = 4096) -> dict[str, Any]:
    name = {SHA_256: "sha256"}.get(mechanism, "sha512")
    salted = hashlib.pbkdf2_hmac(name, b"secret", SALT, 4096)
    return {
        "name": user, "mechanism": mechanism, "iterations": iterations, "salt": SALT, "salted_password": salted,
    }  # fmt: skip


def deletion(user: str, mechanism: int = SHA_512) -> dict[str, Any]:
    return {"name": user, "mechanism": mechanism}


class Users:
    """The two APIs, asked as a user."""

    def __init__(self, guarded: Guarded, who: str = "admin") -> None:
        self._client = guarded.client(who)

    def alter(self, *upsertions: dict[str, Any], deletions: tuple[dict[str, Any], ...] = ()) -> dict[str, Any]:
        """Error codes and messages by user."""
        answer = self._client.call(
            "alter_user_scram_credentials", 0, deletions=list(deletions), upsertions=list(upsertions)
        )
        return {row.user: (row.error_code, row.error_message) for row in answer.results}

    def describe(self, *users: str) -> dict[str, Any]:
        """By user: mechanisms with iterations, or code and message."""
        named = [{"name": user} for user in users] or None
        answer = self._client.call("describe_user_scram_credentials", 0, users=named)
        assert answer.error_code == ErrorCode.none, answer
        return {
            row.user: (row.error_code, row.error_message)
            if row.error_code != ErrorCode.none
            else {info.mechanism: info.iterations for info in row.credential_infos}
            for row in answer.results
        }

    def until(self, user: str, expected: Any) -> None:
        """A real node knows of it after some milliseconds."""
        wait_for(lambda: self.describe(user)[user] == expected, within=10, what=f"{user} is {expected}")


def nobody(user: str) -> tuple[ErrorCode, str]:
    return ErrorCode.resource_not_found, f"Attempt to describe a user credential that does not exist: {user}"


OK = ErrorCode.none, None


def test_given_users_when_altered_then_they_are_described_until_they_are_removed(guarded: Guarded) -> None:
    users, one, two = Users(guarded), unique("one"), unique("two")
    assert users.alter(upsert(one), upsert(two)) == {one: OK, two: OK}
    assert users.alter(upsert(one, SHA_256, 8192)) == {one: OK}
    users.until(one, {SHA_256: 8192, SHA_512: 4096})
    users.until(two, {SHA_512: 4096})
    assert {one, two} <= set(users.describe())
    assert users.alter(upsert(two, iterations=5000), deletions=(deletion(one, SHA_256),)) == {one: OK, two: OK}
    users.until(one, {SHA_512: 4096})
    users.until(two, {SHA_512: 5000})
    assert users.alter(deletions=(deletion(one), deletion(two))) == {one: OK, two: OK}
    users.until(one, nobody(one))
    users.until(two, nobody(two))


def test_given_what_is_wrong_when_altered_then_the_codes_and_messages_are_kafkas(guarded: Guarded) -> None:
    users, good, bad = Users(guarded), unique("good"), unique("bad")

    def alone(*upsertions: dict[str, Any], deletions: tuple[dict[str, Any], ...] = ()) -> Any:
        answers = users.alter(*upsertions, deletions=deletions)
        assert len(answers) == 1
        return next(iter(answers.values()))

    assert alone(upsert(bad, iterations=4095)) == (ErrorCode.unacceptable_credential, "Too few iterations")
    assert alone(upsert(bad, iterations=16385)) == (ErrorCode.unacceptable_credential, "Too many iterations")
    assert alone(upsert(bad, iterations=16384)) == OK
    users.until(bad, {SHA_512: 16384})
    assert alone(upsert("")) == (ErrorCode.unacceptable_credential, "Username must not be empty")
    assert alone(upsert(bad, 3)) == (ErrorCode.unsupported_sasl_mechanism, "Unknown SCRAM mechanism")
    assert alone(deletions=(deletion(good),)) == (
        ErrorCode.resource_not_found, "Attempt to delete a user credential that does not exist",
    )  # fmt: skip
    twice = (ErrorCode.duplicate_resource, "A user credential cannot be altered twice in the same request")
    assert alone(upsert(bad), upsert(bad, iterations=5000)) == twice
    assert alone(upsert(bad), upsert(bad, SHA_256)) == twice
    assert alone(upsert(bad), deletions=(deletion(bad),)) == twice
    both = users.alter(upsert(good), upsert(bad, iterations=1))
    assert both == {good: OK, bad: (ErrorCode.unacceptable_credential, "Too few iterations")}
    users.until(good, {SHA_512: 4096})
    users.until(bad, {SHA_512: 16384})


def test_given_users_named_twice_or_unknown_when_described_then_each_has_its_own_code(guarded: Guarded) -> None:
    users, user = Users(guarded), unique("nobody")
    message = f"Cannot describe SCRAM credentials for the same user twice in a single request: {user}"
    assert users.describe(user, user) == {user: (ErrorCode.duplicate_resource, message)}
    assert users.describe(user) == {user: nobody(user)}


def test_given_no_rights_when_asked_then_refused_as_kafka_refuses(guarded: Guarded) -> None:
    user = unique("u")
    client = guarded.client("alice")
    # Not with null for all users: Kafka 4.1 doesn't answer that at all when it is refused.
    answer = client.call("describe_user_scram_credentials", 0, users=[{"name": user}])
    assert answer.error_code == ErrorCode.cluster_authorization_failed
    refused = Users(guarded, "alice").alter(upsert(user), deletions=(deletion(user, SHA_256),))
    assert {name: code for name, (code, _) in refused.items()} == {user: ErrorCode.cluster_authorization_failed}
    guarded.grant(Rule(CLUSTER, CLUSTER_NAME, DESCRIBE))
    assert Users(guarded, "alice").describe(user) == {user: nobody(user)}
    guarded.revoke_all()


def test_given_kafkas_own_tool_when_it_makes_and_removes_a_user_then_it_says_so(
    guarded: Guarded, tmp_path: Path
) -> None:
    user = unique("tool")
    settings = tmp_path / "admin.properties"
    module = "org.apache.kafka.common.security.plain.PlainLoginModule"
    settings.write_text(
        "security.protocol=SASL_PLAINTEXT\nsasl.mechanism=PLAIN\n"
        f'sasl.jaas.config={module} required username="admin" password="admin-secret";\n'
    )

    def configs(*arguments: str) -> str:
        where = ("--bootstrap-server", guarded.bootstrap, "--command-config", str(settings))
        about = ("--entity-type", "users", "--entity-name", user)
        done = run_tool("kafka.admin.ConfigCommand", *where, *arguments, *about, env=dict(os.environ))
        return done.stdout

    configs("--alter", "--add-config", "SCRAM-SHA-512=[iterations=8192,password=of-the-tool]")
    Users(guarded).until(user, {SHA_512: 8192})
    assert f"SCRAM credential configs for user-principal '{user}' are SCRAM-SHA-512=iterations=8192" in configs(
        "--describe"
    )
    configs("--alter", "--delete-config", "SCRAM-SHA-512")
    Users(guarded).until(user, nobody(user))
