"""ssl.principal.mapping.rules, by the examples of Kafka's documentation, and over a connection."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from confluent_kafka.admin import AdminClient
from cryptography import x509
from cryptography.x509.oid import NameOID

from broker.cluster import Cluster
from broker.config_defs import InvalidConfig
from broker.node import Listener
from broker.security.principal_mapper import PrincipalMapper
from broker.security.tls import server_context, subject_text
from tests.support import javatools
from tests.support.certificates import CertificateAuthority

DOCUMENTED = (
    "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1/,"
    "RULE:^CN=(.*?),OU=(.*?),O=(.*?),L=(.*?),ST=(.*?),C=(.*?)$/$1@$2/L,"
    "RULE:^.*[Cc][Nn]=([a-zA-Z0-9.]*).*$/$1/L,"
    "DEFAULT"
)


@pytest.mark.parametrize(
    ("rules", "subject", "name"),
    [
        ("DEFAULT", "CN=carol,OU=shop", "CN=carol,OU=shop"),
        (DOCUMENTED, "CN=serviceuser,OU=ServiceUsers,O=Unknown,L=Unknown,ST=Unknown,C=Unknown", "serviceuser"),
        (DOCUMENTED, "CN=adminUser,OU=Admin,O=Unknown,L=Unknown,ST=Unknown,C=Unknown", "adminuser@admin"),
        (DOCUMENTED, "OU=JavaSoft,CN=Duke.X,O=Sun", "duke.x"),
        (DOCUMENTED, "O=Sun", "O=Sun"),
        ("RULE:^CN=(.*?)$/$1/U", "CN=carol", "CAROL"),
        ("RULE:^CN=(.*)$/$1\\/x/", "CN=carol", "carol/x"),
        ("RULE:^CN=nobody$/x/", "CN=carol", None),
        ("", "CN=carol", None),
        ("DEFAULT", "CN=" + "x" * 5000, None),
        ("RULE:CN=admin/admin/", "OU=of CN=admin", None),
        ("RULE:CN=admin/admin/", "CN=admin,OU=elsewhere", None),
    ],
)
def test_given_rules_then_the_first_that_fits_makes_the_name(rules: str, subject: str, name: str | None) -> None:
    assert PrincipalMapper(rules).name_of(subject) == name


@pytest.mark.parametrize(
    "rules",
    ["deault", "RULE:^CN=(.*?),OU=ServiceUsers.*$/$1", "RULE:^CN=(.*?)/$1/LU", "RULE:(/x/", "RULE:a/$1/", "x" * 20_000],
)
def test_given_what_are_no_rules_then_refused(rules: str) -> None:
    with pytest.raises(InvalidConfig):
        PrincipalMapper(rules)
    with pytest.raises(InvalidConfig):
        Cluster(config={"ssl.principal.mapping.rules": rules})


NAMES: list[list[list[tuple[x509.ObjectIdentifier, str]]]] = [
    [[(NameOID.COUNTRY_NAME, "DE")], [(NameOID.ORGANIZATION_NAME, 'Shop, "Inc"')], [(NameOID.COMMON_NAME, "carol")]],
    [[(NameOID.COMMON_NAME, " Ümit#1; <a>=b+c\\ ")]],
    [[(NameOID.ORGANIZATIONAL_UNIT_NAME, "shop"), (NameOID.COMMON_NAME, "carol")]],  # as a certificate orders them
    [[(NameOID.EMAIL_ADDRESS, "carol@example.com")], [(NameOID.COMMON_NAME, "carol")]],
    [[(NameOID.DOMAIN_COMPONENT, "org")], [(NameOID.USER_ID, "c1")], [(NameOID.STREET_ADDRESS, "1 Road")]],
    [[(NameOID.SERIAL_NUMBER, "7")], [(NameOID.COMMON_NAME, "x" * 60)]],
    [[(NameOID.STATE_OR_PROVINCE_NAME, "B")], [(NameOID.COMMON_NAME, "adminUser")], [(NameOID.LOCALITY_NAME, "a b")]],
]
RULES = [
    "DEFAULT", DOCUMENTED, "", "RULE:CN=carol/x/", "RULE:.*CN=carol.*/x/U", "RULE:(.*)/$1/",
    "RULE:.+/\\$1 \\/ $0/L,DEFAULT",
    "RULE:CN=(?<who>[^,]*).*/${who}/, DEFAULT", "RULE:(.)(.)(.+)/$3$12$1/",
    "  RULE:[Cc]N=(.*),.*/$1/L , RULE:.*/other/ ",
    "RULE:^CN=(.*),OU=(.*)$/$1/X", "RULE:a/b", "DEFAULT RULE:a/b/", "RULE:[/x/", ",,DEFAULT",
]  # fmt: skip


def made_of(parts: list[list[tuple[x509.ObjectIdentifier, str]]]) -> x509.Name:
    return x509.Name(
        [x509.RelativeDistinguishedName(x509.NameAttribute(kind, value) for kind, value in part) for part in parts]
    )


@pytest.mark.kafka
def test_given_subjects_and_rules_then_names_are_those_that_kafka_makes() -> None:
    pairs = [(rules, made_of(parts)) for rules in RULES for parts in NAMES]
    arguments = [text for rules, name in pairs for text in (rules, name.public_bytes().hex())]
    source = Path(javatools.__file__).with_name("PrincipalNames.java")
    printed = javatools.run_command([*javatools.small_jvm(javatools.jars()), str(source), *arguments]).splitlines()
    assert len(printed) == len(pairs)
    for (rules, name), line in zip(pairs, printed, strict=True):
        subject = subject_text(name)
        try:
            answer = PrincipalMapper(rules).name_of(subject)
        except InvalidConfig:
            answer = None
        expected = line.partition("\t")
        assert (subject, f"={answer}" if answer is not None else "!") == (
            expected[0],
            expected[2] if expected[2].startswith("=") else "!",
        ), rules


@pytest.mark.parametrize(
    ("rules", "principal"),
    [("RULE:^CN=(.*)$/$1/U", "User:CAROL"), ("RULE:^CN=dave$/x/", None), ("RULE:^CN=.*$/arn:aws:iam::1:root/", None)],
)
async def test_given_a_client_with_a_certificate_then_it_is_who_the_rules_say(
    tmp_path: Path, rules: str, principal: str | None
) -> None:
    authority = CertificateAuthority(tmp_path)
    server, own = authority.issue("server"), authority.issue("carol")
    context = server_context(server.certificate, server.key, authority.certificate)
    listener = Listener(name="SSL", ssl_context=context)
    async with Cluster(listeners=[listener], config={"ssl.principal.mapping.rules": rules}) as cluster:
        settings = {
            "bootstrap.servers": cluster.bootstrap, "security.protocol": "SSL", "log_level": 0,
            "ssl.ca.location": str(authority.certificate),
            "ssl.certificate.location": str(own.certificate), "ssl.key.location": str(own.key),
        }  # fmt: skip
        admin = AdminClient(settings)
        try:
            await asyncio.to_thread(admin.list_topics, timeout=10 if principal else 2)
        except Exception:  # noqa: BLE001 - librdkafka's; what the broker did is looked at
            assert principal is None
        found = {connection.state.principal for connection in cluster.nodes[0].connections}
        assert found == ({principal} if principal else set())
        assert (cluster.refused_requests > 0) is (principal is None)
