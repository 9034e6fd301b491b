"""A console's files, read once and served as they are: everything below a package's `page/`, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import NamedTuple

from aiohttp import web

_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_INDEX = "index.html"


class PageFile(NamedTuple):
    """What a browser gets."""

    kind: str
    text: str


@cache
def page_files(package: str = __package__ or "") -> dict[str, PageFile]:
    """All of them by the path they are served at; the index is at `/`. Files of other kinds, such as licences, aren't
    served."""
    root = resources.files(package).joinpath("page")
    return {"/" if path == f"/{_INDEX}" else path: file for path, file in _below(root, "")}


def add_page(router: web.UrlDispatcher) -> None:
    """A route for each file."""
    for path, file in page_files().items():
        router.add_get(path, _handler(file))


def _below(folder: Traversable, path: str) -> Iterator[tuple[str, PageFile]]:
    for item in folder.iterdir():
        here = f"{path}/{item.name}"
        if item.is_dir():
            yield from _below(item, here)
            continue
        kind = _KINDS.get(item.name[item.name.rfind(".") :])
        if kind is not None:
            yield here, PageFile(kind, item.read_text(encoding="utf-8"))


def _handler(file: PageFile) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def handler(_request: web.Request) -> web.StreamResponse:
        return web.Response(text=file.text, content_type=file.kind)

    return handler
