"""ApiVersions (key 18), versions 0-4: which APIs and versions are served, and the cluster's features.

KIP-35, KIP-511, KIP-584. Client software name and version are checked and then ignored. As Kafka 4.1 does, Produce is
advertised from version 0 on, because librdkafka would otherwise think it were talking to a broker that is too old.
"""

from __future__ import annotations

import re
from typing import Any

import kio.schema.api_versions
from kio.schema.errors import ErrorCode

from broker.node import RequestContext
from broker.registry import APIS, OPEN, api, build

PRODUCE = 0
SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


@api(schema=kio.schema.api_versions, versions=range(5), asks=OPEN, before_authentication=True)
async def api_versions(ctx: RequestContext, request: Any) -> Any:
    if ctx.api_version >= 3 and not (
        SOFTWARE.fullmatch(request.client_software_name) and SOFTWARE.fullmatch(request.client_software_version)
    ):
        return build(ctx, error_code=ErrorCode.invalid_request)
    features = ctx.cluster.features.items()
    return build(
        ctx,
        api_keys=[
            {
                "api_key": item.key,
                "min_version": 0 if item.key == PRODUCE else item.versions[0],
                "max_version": item.versions[-1],
            }
            for item in sorted(APIS.values(), key=lambda item: item.key)
        ],
        supported_features=[
            {"name": name, "min_version": low, "max_version": high}
            for name, (low, high, _) in features
            if low > 0 or ctx.api_version >= 4
        ],
        finalized_features_epoch=1,
        finalized_features=[
            {"name": name, "min_version_level": level, "max_version_level": level}
            for name, (_, _, level) in features
            if level > 0
        ],
    )
