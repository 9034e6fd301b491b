"""IAM access control as Amazon MSK has it: who has logged in by IAM is judged by policies, everybody else by ACLs.

A principal that is an ARN has logged in by IAM: no other mechanism lets in users of such names. Its own policies count,
and the cluster's resource policy. Decisions are kept for `KEEP_S`: a changed policy counts after that, as in MSK, where
it takes some minutes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from broker.iam import arns
from broker.iam.kafka_actions import CONNECT, ClusterArns, action_of
from broker.iam.policy import Decision, PolicyDocument, Question, Verdict, decide
from broker.iam.store import CredentialStore
from broker.security.authorizer import Authorizer, Requester
from broker.security.resources import Operation, ResourceType

log = logging.getLogger(__name__)

KEEP_S = 5.0
_MOST_KEPT = 50_000
_PREFIX = "User:"


class PolicyAuthorizer:
    """`others` answers for those who haven't logged in by IAM; None: they may do everything.

    `cluster_policy` gives the resource policy as it is now, `tags` the cluster's tags (conditions on aws:ResourceTag).
    """

    def __init__(
        self,
        store: CredentialStore,
        cluster_arn: str,
        others: Authorizer | None,
        monotonic: Callable[[], float],
        cluster_policy: Callable[[], PolicyDocument | None] = lambda: None,
        tags: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """ValueError if `cluster_arn` isn't one."""
        self._store = store
        self._arns = ClusterArns(cluster_arn)
        self._others = others
        self._monotonic = monotonic
        self._cluster_policy = cluster_policy
        self._tags = tags
        self._kept: dict[tuple[str, str, int, int, str], bool] = {}  # principal, host, operation, kind, name
        self._kept_until = 0.0

    @property
    def has_acls(self) -> bool:
        """Whether ACLs are looked at for anybody."""
        return self._others is not None and self._others.has_acls

    def allows(self, who: Requester, operation: Operation, kind: ResourceType, name: str) -> bool:
        """Whether they may do this to this resource."""
        question = who.principal, who.host, operation.value, kind.value, name
        known = self._decisions().get(question)
        if known is not None:
            return known
        arn = who.principal.removeprefix(_PREFIX)
        if arns.account_of(arn) is None:
            return self._others is None or self._others.allows(who, operation, kind, name)
        action = action_of(kind.name, operation.name)
        allowed = (
            action is not None and self._judge(arn, action, self._arns.resource(kind.name, name), who.host).allowed
        )
        self._kept[question] = allowed
        return allowed

    def allows_any(self, who: Requester, operation: Operation, kind: ResourceType) -> bool:
        """Policies can't be asked that: whoever has logged in by IAM needs the action itself."""
        if arns.account_of(who.principal.removeprefix(_PREFIX)) is None:
            return self._others is None or self._others.allows_any(who, operation, kind)
        return False

    def refusal(self, who: Requester, operation: Operation, kind: ResourceType, name: str) -> str:
        """The action, its resource, and which statement denies it."""
        arn = who.principal.removeprefix(_PREFIX)
        if arns.account_of(arn) is None:
            return "" if self._others is None else self._others.refusal(who, operation, kind, name)
        action = action_of(kind.name, operation.name)
        if action is None:
            return "no action of IAM allows that"
        resource = self._arns.resource(kind.name, name)
        return _refusal(self._judge(arn, action, resource, who.host), action, resource)

    def may_connect(self, arn: str, host: str) -> bool:
        """Whether the policies of this principal allow kafka-cluster:Connect. Who may not is named in the log."""
        verdict = self._judge(arn, CONNECT, self._arns.cluster, host)
        if not verdict.allowed:
            log.info("%s at %s is refused: %s", arn, host, _refusal(verdict, CONNECT, self._arns.cluster))
        return verdict.allowed

    def _decisions(self) -> dict[tuple[str, str, int, int, str], bool]:
        now = self._monotonic()
        if now >= self._kept_until or len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
            self._kept_until = now + KEEP_S
        return self._kept

    def _judge(self, arn: str, action: str, resource: str, host: str) -> Verdict:
        context = {
            "aws:PrincipalArn": arn,
            "aws:PrincipalAccount": arns.account_of(arn) or "",
            "aws:SourceIp": host,
            "aws:SecureTransport": "true",
            **{f"aws:ResourceTag/{key}": value for key, value in self._tags().items()},
        }
        policy = self._cluster_policy()
        return decide(
            Question(action, resource, arn, context),
            identity=self._store.policies_of(arn),
            resource=() if policy is None else (policy,),
            owner=self._arns.account,
        )


def _refusal(verdict: Verdict, action: str, resource: str) -> str:
    if verdict.decision is Decision.EXPLICIT_DENY:
        return f"{action} on {resource}: statement {verdict.sid or '(without a Sid)'} denies it"
    return f"{action} on {resource}: no statement allows it"
