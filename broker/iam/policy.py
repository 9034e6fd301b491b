"""Policy documents of IAM, and what they decide.

    documents = store.policies_of(arn)
    decide(Question("kafka-cluster:ReadData", topic_arn, arn, context), identity=documents, resource=[cluster_policy])

Source: AWS IAM user guide, "Grammar of the IAM JSON policy language" and "Policy evaluation logic". What isn't allowed
is denied; a deny anywhere wins. In one account an identity's policy or the resource's is enough, between accounts it
takes both. Left out: permissions boundaries, session policies, service control policies.
"""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from broker.iam import arns
from broker.iam.conditions import Conditions
from broker.iam.errors import PolicyError
from broker.iam.patterns import Context, compiled, has_variables, matches

Kind = Literal["identity", "resource", "trust"]

MAX_BYTES = 20_480  # of a cluster policy; identities' policies are smaller
_MOST_STATEMENTS = 100
_MOST_ITEMS = 500
_VERSIONS = ("2012-10-17", "2008-10-17")
_ACTION = re.compile(r"\*|[A-Za-z0-9*?-]+:[A-Za-z0-9*?]+")
_PRINCIPALS = frozenset({"AWS", "Service", "Federated", "CanonicalUser"})
_KEYS = frozenset(
    {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)


class Decision(enum.Enum):
    """What policies say."""

    ALLOW = "allow"
    IMPLICIT_DENY = "implicit deny"
    EXPLICIT_DENY = "explicit deny"


@dataclass(frozen=True)
class Verdict:
    """A decision and the Sid of the statement that made it ("" where there is none)."""

    decision: Decision
    sid: str = ""

    @property
    def allowed(self) -> bool:
        """Whether it may be done."""
        return self.decision is Decision.ALLOW


@dataclass(frozen=True)
class Question:
    """May `principal` do `action` (`service:Name`) to the resource of that ARN? `context` has the condition keys."""

    action: str
    resource: str
    principal: str
    context: Context = field(default_factory=dict)


class _Patterns:
    """A statement's list of actions, resources or principals. What depends on who asks is compiled for each."""

    def __init__(self, items: Sequence[str], *, ignore_case: bool, variables: bool) -> None:
        self._ignore_case = ignore_case
        self._fixed: list[tuple[int, ...]] = []
        self._variable: list[str] = []
        for item in items:
            if variables and has_variables(item):
                self._variable.append(item)
            elif (tokens := compiled(item, ignore_case=ignore_case)) is not None:
                self._fixed.append(tokens)

    def match(self, text: str, context: Context) -> bool:
        text = text.lower() if self._ignore_case else text
        if any(matches(tokens, text) for tokens in self._fixed):
            return True
        for item in self._variable:
            tokens = compiled(item, context, ignore_case=self._ignore_case)
            if tokens is not None and matches(tokens, text):
                return True
        return False


@dataclass(frozen=True)
class Statement:
    """One of a document, with its patterns compiled."""

    sid: str
    allows: bool
    actions: _Patterns
    all_but_actions: bool
    resources: _Patterns | None
    all_but_resources: bool
    principals: Mapping[str, Sequence[str]] | None
    all_but_principals: bool
    conditions: Conditions

    def applies(self, question: Question) -> bool:
        """Whether it says something about this, whoever asks."""
        context = question.context
        if self.actions.match(question.action, context) is self.all_but_actions:
            return False
        if self.resources is not None and self.resources.match(question.resource, context) is self.all_but_resources:
            return False
        return self.conditions.hold(context)

    def is_for(self, principal: str) -> bool:
        """Whether it names this principal, or doesn't name any."""
        if self.principals is None:
            return True
        return _names(self.principals, principal) is not self.all_but_principals

    def is_for_account(self, principal: str) -> bool:
        """Whether it hands the decision about this principal to the principal's account."""
        account = arns.account_of(principal)
        if self.principals is None or self.all_but_principals or account is None:
            return False
        return any(
            item == account or (arns.is_root(item) and arns.account_of(item) == account)
            for item in self.principals.get("AWS", ())
        )


class PolicyDocument:
    """A valid document of one of the three kinds."""

    def __init__(self, statements: Sequence[Statement], kind: Kind) -> None:
        self.statements = tuple(statements)
        self.kind = kind

    @classmethod
    def parse(cls, document: str | bytes | Mapping[str, Any], *, kind: Kind) -> PolicyDocument:
        """PolicyError, naming the statement, for what isn't a policy document of this kind."""
        return cls(_statements(document, kind), kind)


def decide(
    question: Question,
    *,
    identity: Iterable[PolicyDocument],
    resource: Iterable[PolicyDocument] = (),
    owner: str | None = None,
) -> Verdict:
    """What the principal's own policies and the resource's say together.

    `owner` is the account that the resource is in; None: the principal's. A root of the owner may do what isn't denied.
    """
    own = _verdicts(question, identity)
    there = [
        (verdict, s)
        for verdict, s in _verdicts(question, resource)
        if s.is_for(question.principal) or s.is_for_account(question.principal)
    ]
    for verdict, statement in (*own, *there):
        if not statement.allows:
            return verdict
    account = arns.account_of(question.principal)
    same = account is None or owner is None or account == owner
    mine = next((verdict for verdict, _ in own), None)
    if mine is None and arns.is_root(question.principal):
        mine = Verdict(Decision.ALLOW)
    theirs = next((verdict for verdict, s in there if s.is_for(question.principal)), None)
    if account is None:  # a service: only the resource can let it in
        return theirs or Verdict(Decision.IMPLICIT_DENY)
    if same:
        return mine or theirs or Verdict(Decision.IMPLICIT_DENY)
    return mine if mine is not None and there else Verdict(Decision.IMPLICIT_DENY)


def may_assume(trust: PolicyDocument, principal: str, context: Context | None = None) -> bool:
    """Whether a role's trust policy lets this principal (an ARN, or a service as `kafka.amazonaws.com`) assume it."""
    question = Question("sts:AssumeRole", "*", principal, context or {})
    found = [
        (verdict, s)
        for verdict, s in _verdicts(question, (trust,))
        if s.is_for(principal) or s.is_for_account(principal)
    ]
    return bool(found) and all(statement.allows for _, statement in found)


def _verdicts(question: Question, documents: Iterable[PolicyDocument]) -> list[tuple[Verdict, Statement]]:
    found = []
    for document in documents:
        for statement in document.statements:
            if statement.applies(question):
                decision = Decision.ALLOW if statement.allows else Decision.EXPLICIT_DENY
                found.append((Verdict(decision, statement.sid), statement))
    return found


def _names(principals: Mapping[str, Sequence[str]], principal: str) -> bool:
    account = arns.account_of(principal)
    if account is None:
        return "*" in principals.get("AWS", ()) or principal in principals.get("Service", ())
    role = arns.role_of(principal)
    for item in principals.get("AWS", ()):
        if item in ("*", principal) or (role is not None and arns.without_path(item) == role):
            return True
        if arns.is_root(principal) and item == account:
            return True
    return False


def _statements(document: str | bytes | Mapping[str, Any], kind: Kind) -> list[Statement]:
    if isinstance(document, str | bytes):
        if len(document) > MAX_BYTES:
            raise PolicyError(f"the document has {len(document)} bytes, at most {MAX_BYTES} are accepted")
        try:
            document = json.loads(document, object_pairs_hook=_no_duplicates)
        except RecursionError:
            raise PolicyError("the document is nested too deeply") from None
        except ValueError as error:
            raise PolicyError(f"the document isn't JSON: {error}") from None
    if not isinstance(document, Mapping):
        raise PolicyError("the document must be a JSON object")
    unknown = sorted(set(document) - {"Version", "Id", "Statement"})
    if unknown:
        raise PolicyError(f"the document has elements that don't exist: {', '.join(map(repr, unknown[:5]))}")
    version = document.get("Version", "2008-10-17")
    if version not in _VERSIONS:
        raise PolicyError(f"Version must be 2012-10-17 or 2008-10-17, it is {str(version)[:40]!r}")
    listed = document.get("Statement")
    listed = [listed] if isinstance(listed, Mapping) else listed
    if not isinstance(listed, list) or not 1 <= len(listed) <= _MOST_STATEMENTS:
        raise PolicyError(f"Statement must be an object, or a list of 1 to {_MOST_STATEMENTS}")
    sids = [item.get("Sid") for item in listed if isinstance(item, Mapping) and item.get("Sid")]
    if len(set(map(str, sids))) < len(sids):
        raise PolicyError("two statements have the same Sid")
    return [_statement(item, number, kind, version) for number, item in enumerate(listed, start=1)]


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        raise ValueError("an object has a key twice")
    return made


def _statement(item: Any, number: int, kind: Kind, version: str) -> Statement:
    where = f"statement {number}"
    if not isinstance(item, Mapping):
        raise PolicyError(f"{where}: must be an object")
    sid = item.get("Sid", "")
    if not isinstance(sid, str) or len(sid) > 256:
        raise PolicyError(f"{where}: Sid must be a text")
    where += f" ({sid})" if sid else ""
    unknown = sorted(set(item) - _KEYS)
    if unknown:
        raise PolicyError(f"{where}: has elements that don't exist: {', '.join(map(repr, unknown[:5]))}")
    if item.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError(f"{where}: Effect must be Allow or Deny")
    variables = version == "2012-10-17"
    actions, but_actions = _either(item, "Action", where)
    for action in actions:
        if not _ACTION.fullmatch(action):
            raise PolicyError(f"{where}: {action[:80]!r} isn't an action (service:Name, * and ? allowed)")
    resources: list[str] | None = None
    but_resources = False
    if kind != "trust":
        resources, but_resources = _either(item, "Resource", where)
        for resource in resources:
            if resource != "*" and not resource.startswith(("arn:", "*")):
                raise PolicyError(f"{where}: {resource[:80]!r} isn't an ARN or *")
    elif "Resource" in item or "NotResource" in item:
        raise PolicyError(f"{where}: a trust policy has no Resource")
    principals, but_principals = _principals(item, kind, where)
    return Statement(
        sid,
        item["Effect"] == "Allow",
        _Patterns(actions, ignore_case=True, variables=False),
        but_actions,
        None if resources is None else _Patterns(resources, ignore_case=False, variables=variables),
        but_resources,
        principals,
        but_principals,
        Conditions(item.get("Condition", {}), where),
    )


def _either(item: Mapping[str, Any], name: str, where: str) -> tuple[list[str], bool]:
    """`Action` or `NotAction`, and whether it was the latter."""
    positive, negative = name in item, f"Not{name}" in item
    if positive is negative:
        raise PolicyError(f"{where}: must have either {name} or Not{name}")
    value = item[name] if positive else item[f"Not{name}"]
    return _listed(value, f"{where}: {name}"), negative


def _listed(value: Any, where: str) -> list[str]:
    listed = [value] if isinstance(value, str) else value
    if not isinstance(listed, list) or not listed or len(listed) > _MOST_ITEMS:
        raise PolicyError(f"{where} must be a text or a list of 1 to {_MOST_ITEMS}")
    for each in listed:
        if not isinstance(each, str) or not 0 < len(each) <= 2048:
            raise PolicyError(f"{where} must hold texts of 1 to 2048 characters")
    return listed


def _principals(item: Mapping[str, Any], kind: Kind, where: str) -> tuple[Mapping[str, Sequence[str]] | None, bool]:
    positive, negative = "Principal" in item, "NotPrincipal" in item
    if kind == "identity":
        if positive or negative:
            raise PolicyError(f"{where}: an identity's policy has no Principal")
        return None, False
    if positive is negative:
        raise PolicyError(f"{where}: must have either Principal or NotPrincipal")
    value = item["Principal"] if positive else item["NotPrincipal"]
    if value == "*":
        return {"AWS": ("*",)}, negative
    if not isinstance(value, Mapping) or not value or not set(value) <= _PRINCIPALS:
        raise PolicyError(f"{where}: Principal must be * or an object of {', '.join(sorted(_PRINCIPALS))}")
    found = {kind: tuple(_listed(names, f"{where}: Principal {kind}")) for kind, names in value.items()}
    for name in found.get("AWS", ()):
        if name != "*" and not re.fullmatch(r"\d{12}", name) and arns.account_of(name) is None:
            raise PolicyError(f"{where}: Invalid principal in policy: {name[:80]!r}")
        if "*" in name and name != "*":
            raise PolicyError(f"{where}: a principal's ARN can't hold wildcards: {name[:80]!r}")
    return found, negative
