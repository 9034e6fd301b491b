"""Reading the file: values, references, lines; and a usable message for everything that can be wrong in it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from replicator.config.load import load, load_text
from replicator.config.models import Settings
from replicator.config.template import TEMPLATE
from replicator.errors import ConfigurationError

GOOD = """\
clusters:
  us: {bootstrap_servers: "b1:9092"}
  eu: {bootstrap_servers: "b2:9092"}
links:
  - name: us-to-eu
    source: us
    target: eu
    topics:
      include: ["orders.*", "payments"]
      naming: prefix
"""


def changed(old: str, new: str, text: str = GOOD) -> str:
    assert old in text
    return text.replace(old, new, 1)


def refusal(text: str, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_text(text, file="r.yaml", environ=environ or {})
    return str(caught.value)


def settings(text: str, environ: dict[str, str] | None = None) -> Settings:
    return load_text(text, environ=environ or {}).settings


def test_given_a_plain_file_then_defaults_fill_the_rest() -> None:
    loaded = settings(GOOD)
    link = loaded.link("us-to-eu")
    assert loaded.clusters["us"].bootstrap_servers == "b1:9092"
    assert (link.lanes, link.delivery, link.topics.start) == (32, "exactly_once", "earliest")
    assert link.selects("orders.v2")
    assert not link.selects("xorders")
    assert not link.selects("orders.internal")
    assert link.remote_topic("orders") == "us.orders"


def test_given_the_template_then_it_loads_without_a_warning() -> None:
    loaded = load_text(TEMPLATE, environ={})
    assert loaded.warnings == ()
    assert loaded.settings.service.memory_bytes == 256 << 20


def test_given_yaml_that_guesses_types_then_scalars_stay_as_written() -> None:
    security = "{protocol: SASL_PLAINTEXT, mechanism: PLAIN, username: no, password: 0123}"
    loaded = settings(changed('"b1:9092"}', f'"b1:9092", security: {security}}}'))
    assert loaded.clusters["us"].security.username == "no"
    assert loaded.clusters["us"].security.password is not None
    assert loaded.clusters["us"].security.password.get_secret_value() == "0123"
    assert "0123" not in repr(loaded)


@pytest.mark.parametrize("start", ["2026-01-01T01:00:00+01:00", "{timestamp: 2026-01-01T00:00:00Z}"])
def test_given_a_time_to_start_from_then_it_is_an_instant(start: str) -> None:
    loaded = settings(changed("naming: prefix", f"start: {start}"))
    assert loaded.links[0].topics.start == datetime(2026, 1, 1, tzinfo=UTC)


def test_given_a_list_of_addresses_then_it_is_as_good_as_text() -> None:
    loaded = settings(changed('"b1:9092"', '["b1:9092", "b3:9092"]'))
    assert loaded.clusters["us"].bootstrap_servers == "b1:9092,b3:9092"


def test_given_references_then_environment_default_and_escape_are_filled_in() -> None:
    text = changed('["orders.*", "payments"]', '["${A}.*", "${B:-b}", "$${C}", "d$"]')
    assert settings(text, {"A": "a"}).links[0].topics.include == ("a.*", "b", "${C}", "d$")


def test_given_files_then_secret_and_certificate_are_relative_to_the_configuration(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush\n")
    (tmp_path / "ca.pem").write_text("x")
    security = "{protocol: SASL_SSL, mechanism: SCRAM-SHA-512, username: u, password: {file: secret}, ca_file: ca.pem}"
    path = tmp_path / "replicator.yaml"
    path.write_text(changed('"b1:9092"}', f'"b1:9092", security: {security}}}'))
    loaded = load(path).clusters["us"].security
    assert loaded.password is not None
    assert loaded.password.get_secret_value() == "hush"
    assert loaded.ca_file == str(tmp_path / "ca.pem")


def test_given_no_such_file_then_the_next_step_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing\.yaml: can't be read.*replicator init"):
        load(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "naming: prefix",
            "nameing: prefix",
            "r.yaml:10: links[0].topics.nameing: unknown key; did you mean `naming`?",
        ),
        ("naming: prefix", "zzz: 1", "r.yaml:10: links[0].topics.zzz: unknown key; known here are include"),
        ("naming: prefix", "naming: perfix", "r.yaml:10: links[0].topics.naming: 'perfix' must be prefix or identical"),
        ("    source: us\n", "", "r.yaml:5: links[0].source: is missing; give the name of a cluster"),
        ("source: us", "source: uss", "r.yaml:6: links[0].source: unknown cluster 'uss'; did you mean `us`?"),
        ("target: eu", "target: us", "r.yaml:7: links[0].target: is the source as well ('us')"),
        ('"b2:9092"', '"b4:1, B1:9092"', "clusters us and eu are the same one: both have address b1:9092"),
        ('"b2:9092"', '"b2"', "r.yaml:3: clusters.eu.bootstrap_servers: 'b2' isn't an address; write host:port"),
        ('"b2:9092"', '"b2:99999"', "'b2:99999' isn't an address"),
        ('"b2:9092"', "${NOPE}", "between braces or brackets ${NAME} needs quotes"),
        (
            '"b2:9092"',
            '"${NOPE}"',
            "environment variable NOPE is not set; set it, or give a default",
        ),
        ('"b2:9092"', "{file: /no/such}", "bootstrap_servers: file /no/such can't be read: No such file"),
        ('"payments"', '"pay(ments"', "r.yaml:9: links[0].topics.include[1]: 'pay(ments' isn't a regular expression"),
        ('"payments"', '"*"', "did you mean `.*`? Patterns are regular expressions"),
        ('["orders.*", "payments"]', "orders", 'links[0].topics.include: must be a list, such as ["orders"]'),
        ('["orders.*", "payments"]', "[]", "links[0].topics.include: is empty: nothing would be copied"),
        ("naming: prefix", "start: 2026-01-01T00:00:00", "a time with its zone, such as 2026-01-01T00:00:00Z"),
        ("naming: prefix", "start: 5", "'5' must be earliest, latest, or a time"),
        ("name: us-to-eu", "name: us/eu", "links[0].name: 'us/eu' becomes part of topic names"),
        ("name: us-to-eu", f"name: {'x' * 240}", "becomes part of topic names: 1 to "),
        ("name: us-to-eu", "name: l\n    separator: '/'", "separator: becomes part of topic names"),
        ("name: us-to-eu", "name: l\n    lanes: many", "r.yaml:6: links[0].lanes: 'many' must be a whole number"),
        ("name: us-to-eu", "name: l\n    lanes: 0", "links[0].lanes: '0' must be at least 1"),
        ("name: us-to-eu", "name: l\n    lanes: 4000", "links[0].lanes: '4000' must be at most 1024"),
        ("name: us-to-eu", "name: l\n    name: m", "links[0].name: is given twice, first in line 5"),
        ("name: us-to-eu", "name: l\n    delivery: at_most_once", "must be exactly_once or at_least_once"),
        ("name: us-to-eu", "name: l\n    writing: fenced", "'fenced' must be auto or transactions"),
        ("name: us-to-eu", "name: l\n    sync: {groups: some}", "sync.groups: 'some' must be true or false"),
        ("name: us-to-eu", "name: l\n    bandwidth: 1", "bandwidth"),
        ("name: us-to-eu", "name: l\n    sync: {acls: some}", "sync.acls: 'some' must be"),
        ("name: us-to-eu", "name: l\n    delete_topics: perhaps", "delete_topics: 'perhaps' must be true or false"),
        ("name: us-to-eu", "name: l\n    use_defaults_from: sauce", "'sauce' must be source or target; did you mean"),
        ("name: us-to-eu", "name: l\n    sync: {config_exclude: ['*']}", "'*' isn't a regular expression"),
        ("name: us-to-eu", "name: l\n    sync: {every: 0}", "sync.every: '0' must be at least 0.1"),
        ("links:", "service: {http: nowhere}\nlinks:", "service.http: 'nowhere' isn't an address"),
        ("links:", "service: {http: '0.0.0.0:80'}\nlinks:", "can be reached from other machines: set service.token"),
        ("links:", "service: {memory_bytes: 1 KiB}\nlinks:", "memory_bytes: '1 KiB' must be at least 16777216"),
        ("links:", "link:", "r.yaml:4: link: unknown key; did you mean `links`?"),
        ("us:", "u/s:", "clusters.u/s: a cluster's name becomes part of topic names"),
        ("us:", "us.east:", "r.yaml:6: links[0].source: unknown cluster 'us'"),
        ("clusters:", "clusters: [", "isn't valid YAML"),
        ('"payments"', r'"pay\.ments"', "use single quotes for regular expressions"),
        ('"payments"', "*", "isn't valid YAML"),
    ],
)
def test_given_a_mistake_then_file_line_key_and_remedy_are_named(old: str, new: str, message: str) -> None:
    text = refusal(changed(old, new))
    assert text.startswith("r.yaml:")
    assert message in text


def test_given_an_alias_with_the_separator_then_it_is_refused() -> None:
    text = changed("source: us", "source: us.east", changed("us:", "us.east:"))
    assert "cluster name 'us.east' contains the separator '.'" in refusal(text)


def test_given_several_mistakes_then_all_are_told_in_the_order_of_the_file() -> None:
    text = refusal(changed("naming: prefix", "naming: x", changed("source: us", "sauce: us")))
    assert [line.split(": ")[1] for line in text.splitlines()] == [
        "links[0].source",
        "links[0].sauce",
        "links[0].topics.naming",
    ]


@pytest.mark.parametrize(
    ("security", "message"),
    [
        ("{protocol: SASL_SSL}", "security.mechanism: SASL_SSL needs PLAIN, SCRAM-SHA-256, SCRAM-SHA-512, AWS_"),
        ("{protocol: SASL_SSL, mechanism: PLAIN, username: u}", "security.password: SASL_SSL needs one"),
        ("{protocol: SASL_SSL, mechanism: SCRAM-SHA-1, username: u, password: p}", "'SCRAM-SHA-1' must be PLAIN"),
        ("{protocol: SASL_SSL, mechanism: GSSAPI}", "GSSAPI isn't available: Kerberos isn't supported"),
        (
            "{protocol: SASL_SSL, mechanism: AWS_MSK_IAM}",
            "security.region: is missing: the brokers' names don't hold it",
        ),
        (
            "{protocol: SASL_SSL, mechanism: AWS_MSK_IAM, region: Ohio}",
            "'Ohio' isn't a region's name, such as us-east-1",
        ),
        (
            "{protocol: SASL_SSL, mechanism: AWS_MSK_IAM, region: us-east-1, username: u}",
            "username: isn't used with mech",
        ),
        (
            "{protocol: SASL_SSL, mechanism: AWS_MSK_IAM, region: us-east-1, role_arn: r}",
            "role_arn: 'r' isn't a role's ARN",
        ),
        (
            "{protocol: SASL_SSL, mechanism: AWS_MSK_IAM, region: us-east-1, external_id: xy}",
            "is for role_arn, which isn't",
        ),
        ("{protocol: SASL_SSL, mechanism: OAUTHBEARER}", "security.token_endpoint: is missing"),
        (
            "{protocol: SASL_SSL, mechanism: OAUTHBEARER, token_endpoint: 'http://x.org/t'}",
            "token_endpoint: has to be https",
        ),
        ("{protocol: SASL_SSL, mechanism: OAUTHBEARER, token_endpoint: 'https://u:hush@x/t'}", "mustn't hold a secret"),
        ("{protocol: SASL_SSL, mechanism: OAUTHBEARER, token_endpoint: t}", "'t' isn't an address such as https://"),
        (
            "{protocol: SASL_SSL, mechanism: OAUTHBEARER, password: p}",
            "password: isn't used with mechanism OAUTHBEARER; wri",
        ),
        ("{protocol: SASL_SSL, mechanism: OAUTHBEARER, extensions: {auth: x}}", "letters alone, and not `auth`"),
        ("{region: us-east-1}", "region: isn't used with protocol PLAINTEXT"),
        ("{username: u}", "username: isn't used with protocol PLAINTEXT; write `protocol: SASL_SSL or"),
        ("{ca_file: x}", "ca_file: isn't used with protocol PLAINTEXT; write `protocol: SSL`"),
        ("{protocol: SSL, ca_file: /no/such.pem}", "ca_file: /no/such.pem isn't a file that can be read"),
        ("{protocol: TLS}", "'TLS' must be PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL"),
    ],
)
def test_given_security_that_does_not_fit_then_the_key_is_named(security: str, message: str) -> None:
    assert message in refusal(changed('"b1:9092"}', f'"b1:9092", security: {security}}}'))


def test_given_a_wrong_secret_then_its_value_is_not_told() -> None:
    security = "{protocol: SASL_SSL, mechanism: PLAIN, username: u, password: [hush]}"
    assert "hush" not in refusal(changed('"b1:9092"}', f'"b1:9092", security: {security}}}'))


SECOND = """\
  - name: {name}
    source: {source}
    target: {target}
    topics: {{naming: {naming}}}
"""


@pytest.mark.parametrize("name", ["us-to-eu", "us.to.eu"])
def test_given_two_links_with_one_name_then_it_is_refused(name: str) -> None:
    first = changed("us-to-eu", name.replace(".", "_"))
    text = refusal(first + SECOND.format(name=name, source="eu", target="us", naming="prefix"))
    assert "r.yaml:11: links[1].name:" in text
    assert "is the name of links[0] too" in text


def test_given_identical_naming_in_both_directions_then_it_loads_and_each_link_returns() -> None:
    first = changed("naming: prefix", "naming: identical")
    loaded = settings(first + SECOND.format(name="back", source="eu", target="us", naming="identical"))
    assert [loaded.returns(link) for link in loaded.links] == [True, True]
    assert [loaded.closes(link) for link in loaded.links] == [False, True]


def test_given_identical_naming_in_a_ring_then_each_link_returns_once_the_ring_is_closed() -> None:
    text = changed("links:", "  ap: {bootstrap_servers: 'b3:9092'}\nlinks:")
    text = changed("naming: prefix", "naming: identical", text)
    text += SECOND.format(name="b", source="eu", target="ap", naming="identical")
    loaded = settings(text)
    assert not any(loaded.returns(link) for link in loaded.links)
    loaded = settings(text + SECOND.format(name="c", source="ap", target="us", naming="identical"))
    assert all(loaded.returns(link) for link in loaded.links)


def test_given_at_least_once_with_identical_naming_in_both_directions_then_it_is_refused() -> None:
    first = changed("naming: prefix", "naming: identical")
    back = SECOND.format(name="back", source="eu", target="us", naming="identical")
    text = refusal(first + back + "    delivery: at_least_once\n")
    assert "links[1].delivery: at_least_once can't be used with identical naming in both directions" in text


def test_given_a_full_mesh_with_identical_naming_then_it_warns_unless_links_replicate_native_records_only() -> None:
    text = "clusters:\n" + "".join(f"  {c}: {{bootstrap_servers: '{c}:9092'}}\n" for c in "abc") + "links:\n"
    for source, target in ("ab", "ba", "bc", "cb", "ca", "ac"):
        text += SECOND.format(name=f"{source}{target}", source=source, target=target, naming="identical").lstrip("\n")
        text += "    origins: ORIGINS\n"
    warnings = load_text(text.replace("ORIGINS", "all"), environ={}).warnings
    assert any("under the same names" in warning for warning in warnings)
    assert load_text(text.replace("ORIGINS", "native"), environ={}).warnings == ()


def test_given_identical_naming_one_way_and_prefix_the_other_then_it_loads() -> None:
    first = changed("naming: prefix", "naming: identical")
    assert settings(first + SECOND.format(name="back", source="eu", target="us", naming="prefix"))


def test_given_two_links_over_the_same_way_then_it_warns() -> None:
    text = GOOD + SECOND.format(name="again", source="us", target="eu", naming="prefix")
    (warning,) = load_text(text, environ={}).warnings
    assert "link us-to-eu copies from us to eu as well" in warning


@pytest.mark.parametrize(
    "text",
    [
        "",
        "just text",
        "- a\n- b",
        "clusters: {}\nlinks: []",
        "a: &a [*a]",
        "\x00",
        "clusters:\n  us: 3\nlinks: 4",
        "? [a]: b",
    ],
)
def test_given_something_else_altogether_then_it_is_refused_with_file_and_line(text: str) -> None:
    assert refusal(text).startswith("r.yaml")


def test_given_a_bomb_of_aliases_then_it_is_refused_before_it_grows() -> None:
    bomb = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
    )
    assert "nesting" in refusal(bomb)
