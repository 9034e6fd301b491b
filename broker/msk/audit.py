"""A record of every call, one JSON object a line, in CloudTrail's record shape (version 1.09, management events)."""

from __future__ import annotations

import json
import os
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from broker.msk.registry import Caller

EVENT_VERSION = "1.09"
MAX_FILE_BYTES = 64 << 20  # then the file becomes NAME.1, in place of the one before
MAX_PARAMETERS = 100_000  # characters; CloudTrail leaves out what is longer, too
_READ_ONLY = re.compile(r"(Describe|List|Get)[A-Z]")


@dataclass(frozen=True)
class Event:
    """What is known about one call at its end."""

    moment: datetime
    operation: str
    region: str
    request_id: str
    source_address: str
    user_agent: str
    caller: Caller | None = None
    parameters: Mapping[str, Any] | None = None
    answer: Mapping[str, Any] | None = None
    error: tuple[str, str] | None = None  # code, message


class AuditLog:
    """Appends events to a file that only its owner may read. Raises OSError: a call that can't be recorded fails."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def write(self, event: Event) -> None:
        """Append one record."""
        line = json.dumps(record(event), separators=(",", ":"), default=str).encode() + b"\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(descriptor, line)
            full = os.fstat(descriptor).st_size > MAX_FILE_BYTES
        finally:
            os.close(descriptor)
        if full:
            os.replace(self._path, self._path.with_name(self._path.name + ".1"))


def record(event: Event) -> dict[str, Any]:
    """The event in CloudTrail's shape."""
    read_only = _READ_ONLY.match(event.operation) is not None
    out: dict[str, Any] = {
        "eventVersion": EVENT_VERSION,
        "userIdentity": _identity(event.caller),
        "eventTime": event.moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "eventSource": "kafka.amazonaws.com",
        "eventName": event.operation,
        "awsRegion": event.region,
        "sourceIPAddress": event.source_address,
        "userAgent": event.user_agent[:1024],
    }
    if event.error is not None:
        out["errorCode"], out["errorMessage"] = event.error[0], event.error[1][:1024]
    out |= {
        "requestParameters": _bounded(event.parameters),
        "responseElements": None if read_only or event.error else _bounded(event.answer),
        "requestID": event.request_id,
        "eventID": str(uuid.uuid4()),
        "readOnly": read_only,
        "eventType": "AwsApiCall",
        "managementEvent": True,
        "recipientAccountId": event.caller.account if event.caller else None,
        "eventCategory": "Management",
    }
    return out


def _identity(caller: Caller | None) -> dict[str, Any]:
    if caller is None:
        return {"type": "Unknown"}
    out = {"arn": caller.arn, "accountId": caller.account, "accessKeyId": caller.access_key_id}
    if caller.arn.endswith(":root"):
        return {"type": "Root", "principalId": caller.account} | out
    if ":assumed-role/" in caller.arn:
        role, _, session = caller.arn.partition(":assumed-role/")[2].partition("/")
        return {"type": "AssumedRole", "principalId": f"{role}:{session}"} | out
    return {"type": "IAMUser", "principalId": caller.access_key_id, "userName": caller.arn.rpartition("/")[2]} | out


def _bounded(value: Mapping[str, Any] | None) -> Any:
    if not value:
        return None
    shown = {name: item.decode("utf-8", "replace") if isinstance(item, bytes) else item for name, item in value.items()}
    return shown if len(json.dumps(shown, default=str)) <= MAX_PARAMETERS else {"omitted": True}
