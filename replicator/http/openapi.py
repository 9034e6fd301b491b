"""The description of the API, made from the table of its routes and their models: OpenAPI 3.1."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, TypeAdapter

from replicator import __version__
from replicator.http.problems import Problem
from replicator.http.route import Route

OPENAPI_PATH = "/v1/openapi.json"

_REF = "#/components/schemas/{model}"
_ABOUT = (
    "Views of links, and verbs. With tokens (`service.token`, `service.tokens`) each request shows one: "
    "`Authorization: Bearer …`; those with the role `view` may GET, those with `operate` may POST as well. A POST "
    "answers a dry run at once; else it needs `confirm`, begins an operation, and answers with its id. Times are "
    "ISO 8601 in UTC, or ms since 1970 where the name says so."
)


def describe(routes: Iterable[Route]) -> dict[str, Any]:
    """The document."""
    schemas: dict[str, Any] = {}
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    return {
        "openapi": "3.1.0",
        "info": {"title": "Replicator", "version": __version__, "description": _ABOUT,
                 "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}},
        "servers": [{"url": "/"}],
        "security": [{}, {"token": []}],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }  # fmt: skip


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {
        "operationId": _name(route),
        "summary": route.summary,
        "parameters": [*_path_parameters(route.path), *_query_parameters(route.query)],
        "responses": _responses(route, schemas),
    }
    if route.body is not None:
        schema = _schema(route.body, schemas, "validation")
        made["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    return made


def _responses(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    found = {str(route.status): _answer(route.status, route.answer, schemas)}
    found |= {str(status): _answer(status, answer, schemas) for status, answer in route.also.items()}
    refusals = (401, 403, 421) if route.method == "POST" else (401, 421)
    found |= {str(status): _answer(status, Problem, schemas) for status in (*route.problems, *refusals)}
    return dict(sorted(found.items()))


def _answer(status: int, kind: Any, schemas: dict[str, Any]) -> dict[str, Any]:
    if isinstance(kind, str):
        content = {kind: {"schema": {"type": "string"}}}
    else:
        content = {"application/json": {"schema": _schema(kind, schemas, "serialization")}}
    return {"description": HTTPStatus(status).phrase, "content": content}


def _schema(kind: Any, schemas: dict[str, Any], mode: Any) -> dict[str, Any]:
    """A reference to the type, whose own and inner schemas are put into `schemas`."""
    made = TypeAdapter(kind).json_schema(ref_template=_REF, mode=mode)
    schemas |= made.pop("$defs", {})
    title = made.get("title")
    if title is None or made.get("type") != "object":
        return made
    schemas[title] = made
    return {"$ref": _REF.format(model=title)}


def _path_parameters(path: str) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
        for name in re.findall(r"{(\w+)}", path)
    ]


def _query_parameters(query: type[BaseModel] | None) -> list[dict[str, Any]]:
    if query is None:
        return []
    found = query.model_json_schema()
    wanted = found.get("required", ())
    made = []
    for name, schema in found.get("properties", {}).items():
        about = {"description": schema.pop("description")} if "description" in schema else {}
        made.append({"name": name, "in": "query", "required": name in wanted, **about, "schema": schema})
    return made


def _name(route: Route) -> str:
    words = [word.strip("{}") for word in route.path.removeprefix("/v1").split("/") if word]
    return "_".join([route.method.lower(), *words])
