"""Errors as answers: `{"error", "exit_code"}` and the status that fits."""

from __future__ import annotations

from aiohttp import web
from typing_extensions import TypedDict

from replicator.errors import ConfigurationError, ReplicatorError, WrongStateError
from replicator.http.reader import UnknownLinkError, encode


class Problem(TypedDict):
    """What is wrong, for people; and the exit code that the command line has for it."""

    error: str
    exit_code: int


def problem(status: int, text: str, exit_code: int = 0) -> web.Response:
    """The answer."""
    found: Problem = {"error": text, "exit_code": exit_code}
    return json_answer(encode(found), status)


def problem_of(error: ReplicatorError) -> web.Response:
    """The answer for an error of ours."""
    return problem(_status(error), str(error), error.exit_code)


def json_answer(body: bytes, status: int = 200) -> web.Response:
    """JSON that is encoded already."""
    return web.Response(body=body, status=status, content_type="application/json", charset="utf-8")


def _status(error: ReplicatorError) -> int:
    match error:
        case UnknownLinkError():
            return 404
        case ConfigurationError():
            return 400
        case WrongStateError():
            return 409
        case _:
            return 503  # a cluster doesn't answer us, or not as it should
