"""Attacks that have had names elsewhere, on who somebody is: forged log-ins are refused, counted, and not shown in the
log. The others are in `test_attacks.py`."""

from __future__ import annotations

import contextlib
import hmac
import json
import logging
from base64 import urlsafe_b64encode
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kio.schema.errors import ErrorCode
from pydantic import SecretStr

from broker.iam.store import Accounts, Credential, CredentialStore
from broker.security.credentials import Credentials
from broker.security.iam_exchange import IAM_MECHANISMS, IamLogIns
from broker.security.sasl import AuthenticationFailed, SaslServer
from tests.broker.iam.test_signature import decoded, encoded, presigned
from tests.broker.test_file_cluster import ALICE, KEY, REGION, SECRET, World, payload, token
from tests.broker.test_file_cluster import client as client_of


def test_cve_2017_12610_to_log_in_as_oneself_and_act_as_another() -> None:
    exchange = SaslServer(["PLAIN"], Credentials({"alice": "s3cret", "bob": "x"})).begin("PLAIN")
    with pytest.raises(AuthenticationFailed):
        exchange.step(b"bob\0alice\0s3cret")


def test_cve_2021_38153_passwords_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[tuple[bytes, bytes]] = []
    real = hmac.compare_digest

    def noted(a: Any, b: Any) -> bool:
        compared.append((a, b))
        return real(a, b)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    assert not Credentials({"alice": "s3cret"}).matches("alice", "s3cre")
    assert not Credentials({"alice": "s3cret"}).matches("nobody", "s3cret")
    assert len(compared) == 2


def _jwt(header: dict[str, str]) -> str:
    parts = (header, {"sub": "admin", "exp": 2**40})
    return ".".join(urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in parts) + "."


CONNECT = "https://kafka.us-east-1.amazonaws.com/?Action=kafka-cluster%3AConnect"


def _tampered() -> str:
    url = decoded(token()[0])
    place = url.index("X-Amz-Signature=") + len("X-Amz-Signature=")
    return encoded(url[:place] + ("1" if url[place] == "0" else "0") + url[place + 1 :])


TOKENS: dict[str, Callable[[], str]] = {
    "CVE-2026-33557, CVE-2026-110985: a JWT that nobody signed": lambda: _jwt({"alg": "none"}),
    "a tampered one": _tampered,
    "one of somebody who isn't known": lambda: presigned(CONNECT),
    "an over-long one": lambda: token()[0] + "A" * 40_000,
    "for another region's host": lambda: presigned(CONNECT.replace("us-east-1", "eu-west-1")),
    "for another service": lambda: presigned(CONNECT, service="sts"),
    "one that lasts too long": lambda: presigned(CONNECT, expires=7 * 86400),
    "for another action": lambda: presigned(CONNECT.replace("Connect", "DeleteTopic")),
    "a link to somewhere": lambda: encoded("https://evil.example/?Action=kafka-cluster%3AConnect"),
}


@pytest.mark.parametrize("what", TOKENS)
async def test_tokens_that_are_not_what_they_seem(what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "broker")
    shown = TOKENS[what]()
    async with World(tmp_path).running() as made:
        async with client_of(made, "IAM") as one:
            assert await one.handshake("OAUTHBEARER") == 0
            answer = await one.token(f"n,,\x01auth=Bearer {shown}\x01\x01".encode())
            if answer.error_code == 0:
                answer = await one.token(b"\x01")
            assert answer.error_code == ErrorCode.sasl_authentication_failed
            assert not await one.works()
        assert made.cluster.failed_authentications == 1
        assert made.cluster.internal_errors == 0
        async with client_of(made, "IAM") as other:
            assert await other.handshake("AWS_MSK_IAM") == 0
            assert (await other.token(payload("127.0.7.1"))).error_code == 0
    assert shown[:200] not in caplog.text
    assert "X-Amz-Signature" not in caplog.text


@pytest.mark.parametrize(("minutes", "good"), [(-14, True), (-16, False), (4, True), (6, False)])
async def test_tokens_of_another_time(minutes: int, good: bool, tmp_path: Path) -> None:
    made_at = datetime.now(UTC)
    shown = token()[0]
    async with World(tmp_path).running() as made:
        assert made.cluster.sasl is not None
        assert made.cluster.sasl.iam is not None
        object.__setattr__(made.cluster.sasl.iam, "now", lambda: made_at - timedelta(minutes=minutes))
        async with client_of(made, "IAM") as one:
            assert await one.handshake("OAUTHBEARER") == 0
            answer = await one.token(f"n,,\x01auth=Bearer {shown}\x01\x01".encode())
            assert (answer.auth_bytes == b"") is good
    assert REGION in CONNECT


HOST = "127.0.7.1"


def _with(**changes: str) -> Callable[[], bytes]:
    """The payload of AWS_MSK_IAM with something else in it."""
    return lambda: json.dumps(
        json.loads(payload(HOST)) | {key.replace("_", "-"): new for key, new in changes.items()}
    ).encode()


def _of(seconds: float) -> str:
    return (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y%m%dT%H%M%SZ")


PAYLOADS: dict[str, Callable[[], bytes]] = {
    "for another broker": lambda: payload("127.0.7.2"),
    "for another broker, renamed": lambda: payload("127.0.7.2").replace(b"127.0.7.2", HOST.encode()),
    "tampered": _with(x_amz_signature="0" * 64),
    "dated back, so that it would have ended": _with(x_amz_date=_of(-1000)),
    "future-dated": _with(x_amz_date=_of(1000)),
    "that lasts too long": _with(x_amz_expires="86400"),
    "that lasts for nothing": _with(x_amz_expires="-900"),
    "of another action": _with(action="kafka-cluster:*"),
    "of another region": _with(x_amz_credential=f"AKIAALICE0000000/{_of(0)[:8]}/eu-west-1/kafka-cluster/aws4_request"),
    "of somebody who isn't known": _with(
        x_amz_credential=f"AKIANOBODY000000/{_of(0)[:8]}/us-east-1/kafka-cluster/aws4_request"
    ),
    "that is no text": _with(x_amz_signature="\ud800"),
    "that would forge a line of the log": _with(
        x_amz_credential="A/20260101/x\nroot logged in/kafka-cluster/aws4_request"
    ),
    "that is JSON, but no object": lambda: b"[" * 10_000,
    "that holds other things than strings": lambda: b'{"version": {"2020_10_22": 1}}',
    "over-long": lambda: b'{"version": "' + b"2" * 20_000 + b'"}',
}


@pytest.mark.parametrize("what", PAYLOADS)
async def test_payloads_that_are_not_what_they_seem(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "broker")
    async with World(tmp_path).running() as made:
        async with client_of(made, "IAM") as one:
            assert await one.handshake("AWS_MSK_IAM") == 0
            assert (await one.token(PAYLOADS[what]())).error_code == ErrorCode.sasl_authentication_failed
            assert not await one.works()
        assert (made.cluster.failed_authentications, made.cluster.internal_errors) == (1, 0)
        async with client_of(made, "IAM") as other:
            assert await other.handshake("AWS_MSK_IAM") == 0
            assert (await other.token(payload(HOST))).error_code == 0
    assert not any("\n" in record.getMessage() for record in caplog.records)
    assert json.loads(payload(HOST))["x-amz-signature"] not in caplog.text


TEXTS = st.text(max_size=40) | st.sampled_from(
    ["\ud800", "\n", "n,,n=", "n,,", "\x01auth=Bearer ", "AWS4-HMAC-SHA256", "host", ""]
)
KEYS_OF_PAYLOAD = st.sampled_from(
    ["version", "host", "action", *(f"x-amz-{name}" for name in ("algorithm", "credential", "date",
     "security-token", "signedheaders", "expires", "signature"))]
)  # fmt: skip
MADE_AT, GOOD = datetime.now(UTC), json.loads(payload(HOST))
STRANGE = (
    st.binary(max_size=200)
    | st.lists(TEXTS, max_size=5).map(lambda parts: "".join(parts).encode(errors="replace"))
    | st.dictionaries(KEYS_OF_PAYLOAD, TEXTS, min_size=1, max_size=3)
    .filter(lambda bad: any(GOOD.get(key) != text for key, text in bad.items()))
    .map(lambda bad: json.dumps(GOOD | bad).encode())
    | st.lists(TEXTS, max_size=4).map(
        lambda parts: b"n,,\x01auth=Bearer " + urlsafe_b64encode("&".join(parts).encode(errors="replace")) + b"\x01\x01"
    )
    | st.dictionaries(st.just("Action") | KEYS_OF_PAYLOAD, TEXTS, max_size=8).map(
        lambda query: (
            f"n,,\x01auth=Bearer {encoded(CONNECT + '&' + urlencode(query, errors='replace'))}\x01\x01".encode()
        )
    )
)


@given(
    mechanism=st.sampled_from(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512", *IAM_MECHANISMS]),
    messages=st.lists(STRANGE, max_size=3),
)
@settings(max_examples=300, deadline=None)
def test_given_any_bytes_when_logging_in_then_nobody_comes_in_and_nothing_else_is_raised(
    mechanism: str, messages: list[bytes]
) -> None:
    key = Credential(access_key_id=KEY, secret_access_key=SecretStr(SECRET), principal_arn=ALICE)
    log_ins = IamLogIns(
        CredentialStore(accounts=Accounts(credentials=(key,))), REGION, lambda: MADE_AT, lambda *_: True
    )
    server = SaslServer([mechanism], Credentials({"alice": "s3cret"}), log_ins)
    exchange = server.begin(mechanism, [HOST])
    with contextlib.suppress(AuthenticationFailed):
        for message in messages:
            exchange.step(message)
            assert not exchange.done
