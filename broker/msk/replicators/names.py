"""Names of replicators: ARNs, the aliases of clusters, the links behind them."""

from __future__ import annotations

import hashlib
import re

from broker.msk.arns import Arn, partition_of

ALIAS_NAME = 28  # characters of a cluster's name in its alias: ACLs and policies are written for them


def alias(reference: str) -> str:
    """A cluster's alias: at most 28 characters of its name, and 12 hexadecimal digits that follow from its ARN (or id),
    so that all replicators of a cluster call it the same. The service's own way to make them isn't documented."""
    name = reference.split("/")[1] if reference.startswith("arn:") else re.sub(r"[^0-9A-Za-z-]", "-", reference)
    return f"{name[:ALIAS_NAME]}-{hashlib.sha256(reference.encode()).hexdigest()[:12]}"


def replicator_arn(region: str, account: str, name: str, key: str) -> str:
    """arn:aws:kafka:REGION:ACCOUNT:replicator/NAME/UUID-N."""
    return str(Arn(partition_of(region), region, account, "replicator", f"{name}/{key}"))


def reference_arn(arn: str, source_region: str) -> str:
    """What a replicator is called in its source's region, where it is listed too: the same with that region."""
    parts = arn.split(":")
    return ":".join([*parts[:3], source_region, *parts[4:]])


def link_name(name: str, key: str) -> str:
    """The link of a replicator whose name another link has, such as one of another region."""
    return f"{name}-{key[:8]}"
