"""Signatures that botocore and the MSK signer make, checked; and what is left of them when anything is changed."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from aws_msk_iam_sasl_signer import MSKAuthTokenProvider
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from pydantic import SecretStr

from broker.iam.errors import SignatureError
from broker.iam.msk_token import MAX_BYTES, verify_payload, verify_token
from broker.iam.signature import verify_headers
from broker.iam.store import Accounts, Credential, CredentialStore

ALICE = "arn:aws:iam::123456789012:user/alice"
SESSION = "arn:aws:sts::123456789012:assumed-role/Replicator/one"
KEY, SECRET, TOKEN = "AKIAEXAMPLE00000001", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "FwoGZXIvYXdzEXAMPLE+/=="
REGION = "us-east-1"


def store(expires: datetime | None = None) -> CredentialStore:
    keys = Credential(access_key_id=KEY, secret_access_key=SecretStr(SECRET), principal_arn=ALICE)
    temporary = Credential(
        access_key_id="ASIAEXAMPLE00000002",
        secret_access_key=SecretStr(SECRET),
        session_token=SecretStr(TOKEN),
        principal_arn=SESSION,
        expires=expires or datetime.now(UTC) + timedelta(hours=1),
    )
    return CredentialStore(accounts=Accounts(credentials=(keys, temporary)))


def now() -> datetime:
    return datetime.now(UTC)


class Request:
    """A request as botocore signs it."""

    def __init__(self, method: str, url: str, body: bytes = b"", token: str | None = None) -> None:
        made = AWSRequest(
            method, url, data=body, headers={"Content-Type": "application/json", "Host": urlsplit(url).netloc}
        )
        credentials = Credentials("ASIAEXAMPLE00000002" if token else KEY, SECRET, token)
        SigV4Auth(credentials, "kafka", REGION).add_auth(made)
        parts = urlsplit(url)
        self.method, self.path, self.query, self.body = method, parts.path, parts.query, body
        self.headers = dict(made.headers.items())

    def verify(self, at: datetime | None = None, **changes: Any) -> str:
        given = {"service": "kafka", "regions": None, "store": store(), "now": at or now()} | changes
        digest = hashlib.sha256(self.body).hexdigest()
        return verify_headers(
            self.method, self.path, self.query, self.headers, digest, **given
        ).credential.principal_arn


ARN = quote("arn:aws:kafka:us-east-1:123456789012:cluster/my cluster/uuid-1", safe="")


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("GET", "http://127.0.0.1:8700/v1/clusters", b""),
        ("GET", f"http://127.0.0.1:8700/v1/clusters/{ARN}/bootstrap-brokers?b=2&a=x%20y&a=%C3%BC&c=", b""),
        ("POST", "https://kafka.us-east-1.amazonaws.com/api/v2/clusters", b'{"clusterName":"one"}'),
        ("DELETE", f"http://[::1]:8700/v1/tags/{ARN}?tagKeys=a%2Bb&tagKeys=a~b", b""),
    ],
)
@pytest.mark.parametrize("token", [None, TOKEN])
def test_given_a_request_that_botocore_signed_then_its_signer_is_known(
    method: str, url: str, body: bytes, token: str | None
) -> None:
    assert Request(method, url, body, token).verify() == (SESSION if token else ALICE)


def _set(name: str, change: Callable[[str], str]) -> Callable[[Request], None]:
    def apply(request: Request) -> None:
        request.headers[name] = change(request.headers[name])

    return apply


def _body(request: Request) -> None:
    request.body = b'{"clusterName":"two"}'


def _path(request: Request) -> None:
    request.path += "x"


def _query(request: Request) -> None:
    request.query = "maxResults=5"


def _method(request: Request) -> None:
    request.method = "GET"


def _late_header(request: Request) -> None:
    request.headers["X-Amz-Target"] = "else"


def _no_token(request: Request) -> None:
    del request.headers["X-Amz-Security-Token"]


@pytest.mark.parametrize(
    ("tamper", "code"),
    [
        (_body, "InvalidSignatureException"),
        (_path, "InvalidSignatureException"),
        (_query, "InvalidSignatureException"),
        (_method, "InvalidSignatureException"),
        (_late_header, "InvalidSignatureException"),
        (_set("Host", lambda host: "elsewhere"), "InvalidSignatureException"),
        (_set("X-Amz-Date", lambda date: date[:-2] + ("1Z" if date[-2] != "1" else "2Z")), "InvalidSignatureException"),
        (_set("X-Amz-Security-Token", lambda token: token[:-1]), "UnrecognizedClientException"),
        (_set("Authorization", lambda text: text.replace("ASIAEXAMPLE00000002", KEY)), "UnrecognizedClientException"),
        (
            _set("Authorization", lambda text: text.replace("ASIAEXAMPLE0", "ASIAEXAMPLE9")),
            "UnrecognizedClientException",
        ),
        (
            _set("Authorization", lambda text: text[:-1] + ("0" if text[-1] != "0" else "1")),
            "InvalidSignatureException",
        ),
        (_set("Authorization", lambda text: text.replace("/kafka/", "/s3/")), "InvalidSignatureException"),
        (_set("Authorization", lambda text: text.replace("host;", "")), "IncompleteSignatureException"),
        (_set("Authorization", lambda text: "Bearer x"), "IncompleteSignatureException"),
        (lambda request: request.headers.pop("Authorization"), "MissingAuthenticationTokenException"),
        (lambda request: request.headers.pop("X-Amz-Date"), "InvalidSignatureException"),
        (_no_token, "InvalidSignatureException"),
    ],
)
def test_given_a_signed_request_when_anything_is_changed_then_refused_without_secrets(
    tamper: Callable[[Request], Any], code: str
) -> None:
    request = Request("POST", "http://127.0.0.1:8700/api/v2/clusters", b'{"clusterName":"one"}', TOKEN)
    tamper(request)
    with pytest.raises(SignatureError) as refused:
        request.verify()
    assert refused.value.code == code
    assert SECRET not in str(refused.value)
    assert TOKEN not in str(refused.value)


@pytest.mark.parametrize(("minutes", "said"), [(6, "Signature expired"), (-6, "Signature not yet current")])
def test_given_a_clock_that_is_off_then_refused(minutes: int, said: str) -> None:
    with pytest.raises(SignatureError, match=said):
        Request("GET", "http://127.0.0.1/v1/clusters").verify(now() + timedelta(minutes=minutes))


def test_given_credentials_that_have_expired_then_said() -> None:
    with pytest.raises(SignatureError) as refused:
        Request("GET", "http://127.0.0.1/v1/clusters", token=TOKEN).verify(store=store(now() - timedelta(seconds=1)))
    assert refused.value.code == "ExpiredTokenException"


def test_given_another_region_than_those_served_then_refused() -> None:
    with pytest.raises(SignatureError, match="region"):
        Request("GET", "http://127.0.0.1/v1/clusters").verify(regions={"eu-west-1"})


# tokens


class _Provider:
    def __init__(self, token: str | None = None) -> None:
        self._token = token

    def load(self) -> Credentials:
        return Credentials("ASIAEXAMPLE00000002" if self._token else KEY, SECRET, self._token)


def token(region: str = REGION, session: str | None = None) -> str:
    """As the Python signer makes it."""
    made, _ = MSKAuthTokenProvider.generate_auth_token_from_credentials_provider(region, _as_provider(session))
    return str(made)


def _as_provider(session: str | None) -> Any:
    from botocore.credentials import CredentialProvider

    class Provider(CredentialProvider):  # type: ignore[misc]
        METHOD = "test"

        def load(self) -> Credentials:
            return _Provider(session).load()

    return Provider()


def presigned(url: str, expires: int = 900, service: str = "kafka-cluster", region: str = REGION) -> str:
    """A token for this URL."""
    request = AWSRequest("GET", url)
    SigV4QueryAuth(Credentials(KEY, SECRET), service, region, expires=expires).add_auth(request)
    return encoded(str(request.url))


def encoded(url: str) -> str:
    return base64.urlsafe_b64encode(url.encode()).decode().rstrip("=")


def decoded(text: str) -> str:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode()


CONNECT = "https://kafka.us-east-1.amazonaws.com/?Action=kafka-cluster%3AConnect"


def test_given_a_token_of_the_python_signer_then_its_signer_is_known_again_and_again_until_it_expires() -> None:
    made = token()
    for _ in range(2):
        signer = verify_token(made, region=REGION, store=store(), now=now())
        assert signer.credential.principal_arn == ALICE
        assert 890 <= (signer.expires - now()).total_seconds() <= 900
    with pytest.raises(SignatureError, match="expired"):
        verify_token(made, region=REGION, store=store(), now=now() + timedelta(seconds=901))
    with pytest.raises(SignatureError, match="not yet current"):
        verify_token(made, region=REGION, store=store(), now=now() - timedelta(minutes=6))


def test_given_temporary_credentials_then_the_session_is_known_and_the_token_ends_with_them() -> None:
    expires = now() + timedelta(minutes=2)
    signer = verify_token(token(session=TOKEN), region=REGION, store=store(expires), now=now())
    assert (signer.credential.principal_arn, signer.expires) == (SESSION, expires)


@pytest.mark.parametrize("domain", ["amazonaws.com.cn", "amazonaws.com"])
def test_given_china_then_both_of_its_hosts_are_taken(domain: str) -> None:
    made = presigned(f"https://kafka.cn-north-1.{domain}/?Action=kafka-cluster%3AConnect", region="cn-north-1")
    assert verify_token(made, region="cn-north-1", store=store(), now=now()).region == "cn-north-1"
    with pytest.raises(SignatureError, match=r"kafka.cn-north-1.amazonaws.com.cn"):
        verify_token(presigned(CONNECT), region="cn-north-1", store=store(), now=now())
    with pytest.raises(SignatureError, match="another host"):
        verify_token(made, region="us-east-1", store=store(), now=now())


def test_given_any_parameter_changed_then_refused() -> None:
    url = decoded(token(session=TOKEN))
    verify_token(encoded(url), region=REGION, store=store(), now=now())
    pairs = parse_qsl(urlsplit(url).query)
    for index, (name, value) in enumerate(pairs):
        changed = [*pairs[:index], (name, value[:-1] + ("A" if value[-1] != "A" else "B")), *pairs[index + 1 :]]
        bad = urlsplit(url)._replace(query="&".join(f"{n}={quote(v, safe='')}" for n, v in changed)).geturl()
        if name == "User-Agent":  # isn't signed
            verify_token(encoded(bad), region=REGION, store=store(), now=now())
            continue
        with pytest.raises(SignatureError):
            verify_token(encoded(bad), region=REGION, store=store(), now=now())


@pytest.mark.parametrize(
    "bad",
    [
        "",
        "not base64 !",
        "ü",
        "A" * (MAX_BYTES + 1),
        encoded("https://kafka.us-east-1.amazonaws.com/"),
        encoded("file:///etc/passwd?Action=kafka-cluster%3AConnect"),
        presigned("https://kafka.us-east-1.amazonaws.com/?Action=kafka-cluster%3ADeleteTopic"),
        presigned("https://kafka.eu-west-1.amazonaws.com/?Action=kafka-cluster%3AConnect"),
        presigned("http://kafka.us-east-1.amazonaws.com/?Action=kafka-cluster%3AConnect"),
        presigned(CONNECT, expires=901),
        presigned(CONNECT, expires=0),
        presigned(CONNECT, service="sts"),
        encoded(decoded(presigned(CONNECT)) + "&Action=kafka-cluster%3AConnect"),
        encoded(decoded(presigned(CONNECT)).replace("X-Amz-Signature=", "X-Amz-Sig=")),
        encoded("https://kafka.us-east-1.amazonaws.com/?" + "&".join(f"a{n}=1" for n in range(1000))),
    ],
)
def test_given_something_else_than_a_token_then_refused(bad: str) -> None:
    with pytest.raises(SignatureError):
        verify_token(bad, region=REGION, store=store(), now=now())


# the payload of AWS_MSK_IAM

BROKER = "b-1.one.abc123.c2.kafka.us-east-1.amazonaws.com"


def payload(host: str = BROKER, **changes: str) -> dict[str, str]:
    """As aws-msk-iam-auth makes it."""
    request = AWSRequest("GET", f"https://{host}/?Action=kafka-cluster%3AConnect")
    SigV4QueryAuth(Credentials("ASIAEXAMPLE00000002", SECRET, TOKEN), "kafka-cluster", REGION, expires=900).add_auth(
        request
    )
    signed = {name.lower(): value for name, value in parse_qsl(urlsplit(str(request.url)).query)}
    return {"version": "2020_10_22", "host": host, "user-agent": "test"} | signed | changes


def check(given: dict[str, str] | bytes) -> str:
    data = given if isinstance(given, bytes) else json.dumps(given).encode()
    return verify_payload(data, hosts={BROKER}, region=REGION, store=store(), now=now()).credential.principal_arn


def test_given_the_java_librarys_payload_then_its_signer_is_known() -> None:
    assert check(payload()) == SESSION


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"[]",
        b"{" * 10_000,
        b"x" * (MAX_BYTES + 1),
        payload(version="2019_01_01"),
        payload(action="kafka-cluster:DeleteTopic"),
        payload("b-2.other.abc123.c2.kafka.us-east-1.amazonaws.com"),
        payload(host="evil"),
        {name: value for name, value in payload().items() if name != "x-amz-signature"},
        payload(**{"x-amz-expires": "90000"}),
        payload(**{"x-amz-signedheaders": "host;x"}),
    ],
)
def test_given_another_payload_then_refused(bad: dict[str, str] | bytes) -> None:
    with pytest.raises(SignatureError):
        check(bad)
