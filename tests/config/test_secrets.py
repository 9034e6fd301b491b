"""Secrets in files are what the files hold now."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from replicator.config.librdkafka import LogIn, client_properties
from replicator.config.load import load

TEXT = """
clusters:
  us:
    bootstrap_servers: "a:1"
    security: {protocol: SASL_PLAINTEXT, mechanism: PLAIN, username: u, password: {file: pw}}
  eu: {bootstrap_servers: "b:1"}
links:
  - {name: l, source: us, target: eu}
"""


class Client:
    given: tuple[str, str] | None = None

    def set_sasl_credentials(self, username: str, password: str) -> None:
        self.given = username, password


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "replicator.yaml").write_text(TEXT)
    (tmp_path / "pw").write_text("first\n")
    return tmp_path / "replicator.yaml"


def password(settings: Any) -> str:
    return str(settings.clusters["us"].security.password.get_secret_value())


def test_given_a_file_that_changes_then_the_secret_does_and_equals_what_is_read_anew(file: Path) -> None:
    settings = load(file)
    assert password(settings) == "first"
    file.with_name("pw").write_text("second one\n")
    assert password(settings) == "second one"
    assert load(file) == settings, "so a reload has nothing to do"
    assert "second" not in repr(settings)


def test_given_a_file_that_is_gone_or_empty_then_the_secret_stays_what_it_was(file: Path) -> None:
    settings = load(file)
    file.with_name("pw").write_text("")
    assert password(settings) == "first"
    file.with_name("pw").unlink()
    assert password(settings) == "first"
    (file.with_name("new")).write_text("third")
    file.with_name("new").rename(file.with_name("pw"))
    assert password(settings) == "third"


def test_given_a_client_of_librdkafka_then_it_is_told_once(file: Path) -> None:
    settings = load(file)
    properties = client_properties(settings.clusters["us"], client_id="c")
    log_in, client = LogIn(properties), Client()
    log_in.renew(client)
    assert client.given is None
    file.with_name("pw").write_text("second")
    assert log_in.outdated
    log_in.renew(client)
    assert not log_in.outdated
    assert client.given == ("u", "second")
    client.given = None
    log_in.renew(client)
    assert client.given is None
    assert {**properties, **log_in.properties()}["sasl.password"] == "second"


def test_given_other_certificates_then_a_client_is_outdated_until_a_new_one_has_read_them(file: Path) -> None:
    ca = file.with_name("ca.pem")
    ca.write_text("one")
    security = "security: {protocol: SSL, ca_file: ca.pem}"
    file.write_text(TEXT.replace('eu: {bootstrap_servers: "b:1"}', f'eu: {{bootstrap_servers: "b:1", {security}}}'))
    log_in = LogIn(client_properties(load(file).clusters["eu"], client_id="c"))
    assert not log_in.outdated
    ca.write_text("another")
    assert log_in.outdated
    assert log_in.properties() == {}
    assert not log_in.outdated
