"""The ACL authorizer against brute force written from the rules A to D in its text."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest

from broker.config import BrokerConfig
from broker.security.access import host_as_java_writes_it
from broker.security.acls import Acl, AclFilter, Acls
from broker.security.authorizer import AclAuthorizer, Requester
from broker.security.resources import CLUSTER_NAME, Operation, PatternType, Permission, ResourceType
from tests.broker.test_acls import acl

NAMES = ["a", "ab", "abc", "abd", "b", "ba", "hardcode", "*"]
KINDS = [ResourceType.TOPIC, ResourceType.GROUP, ResourceType.CLUSTER, ResourceType.TRANSACTIONAL_ID]
PRINCIPALS = ["User:alice", "User:bob", "User:CN=x,O=y:z", "User:*", "Group:alice"]
HOSTS = ["127.0.0.1", "127.0.0.2", "*"]
ASKED = [Operation(code) for code in range(3, 16)]
INCLUDES = {
    Operation.READ: Operation.DESCRIBE,
    Operation.WRITE: Operation.DESCRIBE,
    Operation.DELETE: Operation.DESCRIBE,
    Operation.ALTER: Operation.DESCRIBE,
    Operation.ALTER_CONFIGS: Operation.DESCRIBE_CONFIGS,
}


def oracle(
    rules: Sequence[Acl],
    who: Requester,
    operation: Operation,
    kind: ResourceType,
    name: str,
    *,
    supers: frozenset[str] = frozenset(),
    default: bool = False,
) -> bool:
    """Rules A to D, word by word."""
    if who.principal in supers:
        return True
    named = []
    for rule in rules:
        prefixed = rule.pattern_type is PatternType.PREFIXED
        fits = name.startswith(rule.name) if prefixed else rule.name in (name, "*")
        if rule.resource_type is kind and fits:
            named.append(rule)
    his = [rule for rule in named if rule.principal in (who.principal, "User:*") and rule.host in (who.host, "*")]
    for rule in his:
        if rule.permission is Permission.DENY and rule.operation in (operation, Operation.ALL):
            return False
    for rule in his:
        included = (rule.operation, INCLUDES.get(rule.operation), Operation.ALL)
        if rule.permission is Permission.ALLOW and (operation in included or rule.operation is Operation.ALL):
            return True
    return default and not named


def random_rules(rng: random.Random) -> list[Acl]:
    common = dict.fromkeys(
        Acl(
            rng.choice(KINDS),
            rng.choice(NAMES),
            rng.choice([PatternType.LITERAL, PatternType.PREFIXED]),
            rng.choice(PRINCIPALS),
            rng.choice(HOSTS),
            rng.choice([Operation.ALL, *ASKED]),
            rng.choice([Permission.ALLOW, Permission.ALLOW, Permission.DENY]),
        )
        for _ in range(rng.choice([0, 1, 3, 10, 40]))
    )
    return [replace(rule, name=CLUSTER_NAME) if rule.resource_type is ResourceType.CLUSTER else rule for rule in common]


def authorizer_of(rules: Sequence[Acl], **config: str) -> AclAuthorizer:
    settings = {key.replace("_", "."): value for key, value in config.items()}
    return AclAuthorizer(Acls(rules), BrokerConfig(settings))


@pytest.mark.parametrize("seed", range(4))
def test_given_random_rules_when_asked_random_questions_then_the_answer_is_that_of_brute_force(seed: int) -> None:
    rng = random.Random(seed)
    answers = {True: 0, False: 0}
    for _ in range(150):
        rules = random_rules(rng)
        default = rng.random() < 0.3
        supers = rng.choice(["", "User:bob", "User:bob; User:nobody"])
        asked = authorizer_of(rules, allow_everyone_if_no_acl_found=str(default).lower(), super_users=supers)
        named = frozenset(each.strip() for each in supers.split(";"))
        for _ in range(60):
            kind = rng.choice(KINDS)
            name = CLUSTER_NAME if kind is ResourceType.CLUSTER else rng.choice([*NAMES, "abcdef", "x"])
            who = Requester(rng.choice(PRINCIPALS[:3]), rng.choice(HOSTS[:2]), "Api")
            operation = rng.choice(ASKED)
            answer = asked.allows(who, operation, kind, name)
            expected = oracle(rules, who, operation, kind, name, supers=named, default=default)
            assert answer == expected, (rules, who, operation, kind, name, default)
            answers[answer] += 1
    assert min(answers.values()) > 500  # neither is an exception


@pytest.mark.parametrize("seed", range(4))
def test_given_random_rules_when_asked_for_any_resource_then_one_can_be_named_that_is_allowed(seed: int) -> None:
    """`allows_any` says yes wherever brute force over many names finds one, but for the inclusion of rule C."""
    rng = random.Random(seed)
    candidates = {name + more for name in NAMES for more in ("", "x", "zz")} | {"other"}
    for _ in range(200):
        rules = random_rules(rng)
        asked = authorizer_of(rules)
        who = Requester(rng.choice(PRINCIPALS[:3]), rng.choice(HOSTS[:2]), "Api")
        kind = rng.choice([ResourceType.TOPIC, ResourceType.GROUP])
        operation = rng.choice([Operation.WRITE, Operation.READ, Operation.CREATE])
        found = any(oracle(rules, who, operation, kind, name) for name in candidates)
        if found:
            assert asked.allows_any(who, operation, kind), (rules, who, operation, kind)


def test_given_an_allow_that_a_deny_covers_when_asked_for_any_resource_then_there_is_none() -> None:
    who = Requester("User:alice", "127.0.0.1", "InitProducerId")
    write = Operation.WRITE
    deny = Permission.DENY
    prefixed = PatternType.PREFIXED
    covered: list[list[Acl]] = [
        [],
        [acl("t", write, principal="User:bob")],
        [acl("t", write), acl("t", write, permission=deny)],
        [acl("t", write), acl("*", Operation.ALL, permission=deny)],
        [acl("*", write), acl("*", write, permission=deny, principal="User:*")],
        [acl("abc", write, pattern=prefixed), acl("ab", write, pattern=prefixed, permission=deny)],
        [acl("abc", write), acl("abc", write, pattern=prefixed, permission=deny)],
    ]
    for rules in covered:
        assert not authorizer_of(rules).allows_any(who, write, ResourceType.TOPIC), rules
    free: list[list[Acl]] = [
        [acl("t", write)],
        [acl("*", write), acl("t", write, permission=deny)],
        [acl("ab", write, pattern=prefixed), acl("abc", write, pattern=prefixed, permission=deny)],
        [acl("t", write), acl("*", write, permission=deny, host="10.0.0.1")],
    ]
    for rules in free:
        assert authorizer_of(rules).allows_any(who, write, ResourceType.TOPIC), rules


def test_given_rules_that_come_and_go_when_asked_then_the_answer_follows_at_once() -> None:
    acls = Acls()
    asked = AclAuthorizer(acls, BrokerConfig({}))
    who = Requester("User:alice", "127.0.0.1", "Fetch")
    question = (who, Operation.READ, ResourceType.TOPIC, "orders-eu")
    assert not asked.allows(*question)
    acls.create([acl("orders-", pattern=PatternType.PREFIXED)])
    assert asked.allows(*question)
    acls.create([acl("orders-eu", permission=Permission.DENY, host="127.0.0.1")])
    assert not asked.allows(*question)
    acls.delete([AclFilter(permission=Permission.DENY)])
    assert asked.allows(*question)
    acls.delete([AclFilter()])
    assert not asked.allows(*question)


@pytest.mark.parametrize(
    ("address", "written"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::1", "0:0:0:0:0:0:0:1"),
        ("fe80::1:20", "fe80:0:0:0:0:0:1:20"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("", ""),
    ],
)
def test_given_a_clients_address_when_compared_then_it_is_written_as_java_does(address: str, written: str) -> None:
    assert host_as_java_writes_it(address) == written
