"""Lists in pages: `maxResults` and `nextToken`.

A token says after which item to go on, so that items that come and go in between shift nothing. It is bound to
operation and arguments and signed: what this server didn't give for the same question is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from broker.msk.errors import BadRequest
from broker.msk.registry import Call

T = TypeVar("T")
DEFAULT_RESULTS = 100
MAX_TOKEN = 4096
_TAG = 16


def page(call: Call, items: Iterable[T], key: Callable[[T], str]) -> tuple[list[T], str | None]:
    """The page of `items` that the call asks for, in order of `key` (unique), and the next page's token, if any.

    Raises BadRequest for a token that isn't ours, or was given for another question.
    """
    count = call.input.get("maxResults", DEFAULT_RESULTS)
    token = call.input.get("nextToken")
    after = _open(call, token) if token else None
    rest = sorted((item for item in items if after is None or key(item) > after), key=key)
    shown = rest[:count]
    return shown, _seal(call, key(shown[-1])) if len(rest) > len(shown) else None


def _seal(call: Call, after: str) -> str:
    text = after.encode()
    return base64.urlsafe_b64encode(_tag(call, text) + text).decode()


def _open(call: Call, token: str) -> str:
    try:
        if len(token) > MAX_TOKEN:
            raise ValueError
        raw = base64.urlsafe_b64decode(token.encode("ascii"))
        tag, text = raw[:_TAG], raw[_TAG:]
        if not hmac.compare_digest(tag, _tag(call, text)):
            raise ValueError
        return text.decode()
    except (ValueError, binascii.Error):
        raise BadRequest("The parameter nextToken isn't valid: it wasn't given for this list.", "nextToken") from None


def _tag(call: Call, text: bytes) -> bytes:
    question: dict[str, Any] = {
        name: value for name, value in call.input.items() if name not in ("maxResults", "nextToken")
    }
    message = json.dumps([call.operation, call.caller.account, call.region, question], sort_keys=True).encode()
    return hmac.digest(call.service.page_key, message + b"\0" + text, hashlib.sha256)[:_TAG]
