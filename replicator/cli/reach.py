"""How a verb gets at the links: directly on the clusters, by the configuration file; or through a worker's API."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Any, Protocol, get_type_hints

import typer

from replicator.cli.options import load_links
from replicator.config.models import LinkConfig, Settings
from replicator.verbs.verb import Hand, Order, Row, Verb
from replicator.views.table import VIEWS

_PANEL = "Through the API of a worker"
_OPTIONS: dict[str, Any] = {
    "api": Annotated[
        str | None,
        typer.Option(
            "--api",
            metavar="URL",
            envvar="REPLICATOR_API",
            rich_help_panel=_PANEL,
            help="A worker's address, such as https://host:8080; the configuration file isn't needed then.",
        ),
    ],
    "token_file": Annotated[
        Path | None,
        typer.Option(
            "--token-file",
            metavar="FILE",
            rich_help_panel=_PANEL,
            help="Holds the token; without it the variable REPLICATOR_TOKEN does.",
        ),
    ],
    "ca_file": Annotated[
        Path | None,
        typer.Option(
            "--ca-file",
            metavar="FILE",
            envvar="REPLICATOR_CA_FILE",
            rich_help_panel=_PANEL,
            help="Whom to trust (PEM), if not the system's authorities.",
        ),
    ],
}
_GIVEN: ContextVar[dict[str, Any]] = ContextVar("options of the API", default={})  # noqa: B039  # never changed


class Reach(Protocol):
    """The links that a verb was called for, and what can be read of them and done to them."""

    @property
    def names(self) -> tuple[str, ...]:
        """The links."""
        ...

    def view(self, name: str, link: str, **query: object) -> dict[str, Any]:
        """A view of `replicator.views.table`."""
        ...

    def ahead(self, verb: Verb[Any], link: str, order: Order) -> dict[str, Any]:
        """What the verb would do."""
        ...

    def run(self, verb: Verb[Any], link: str, order: Order, found: Row | None, hand: Hand) -> dict[str, Any]:
        """Do it; `found` is what was ahead, if somebody looked."""
        ...


class Direct:
    """On the clusters."""

    def __init__(self, settings: Settings, links: tuple[LinkConfig, ...], warnings: tuple[str, ...] = ()) -> None:
        self.settings = settings
        self.links = links
        self.warnings = warnings  # of the configuration file
        self._links: Mapping[str, LinkConfig] = {link.name: link for link in links}

    @property
    def names(self) -> tuple[str, ...]:
        """The links."""
        return tuple(self._links)

    def view(self, name: str, link: str, **query: object) -> dict[str, Any]:
        """Read it now."""
        view = VIEWS[name]
        found: dict[str, Any] = view.read(self.settings, self._links[link], view.query(**query))
        return found

    def ahead(self, verb: Verb[Any], link: str, order: Order) -> dict[str, Any]:
        """What the verb would do."""
        return verb.ahead(self.settings, self._links[link], order)

    def run(self, verb: Verb[Any], link: str, order: Order, found: Row | None, hand: Hand) -> dict[str, Any]:
        """In this process."""
        return verb.run(self.settings, self._links[link], order, found, hand)


def through_api(verb: Callable[..., None]) -> Callable[..., None]:
    """The verb with three more options, by which it works through the API: `reach` looks at them."""
    hints = {**get_type_hints(verb, include_extras=True), **_OPTIONS}
    own = [each.replace(annotation=hints[each.name]) for each in inspect.signature(verb).parameters.values()]
    more = [inspect.Parameter(n, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=hints[n]) for n in _OPTIONS]

    @functools.wraps(verb)
    def run(*arguments: Any, **named: Any) -> None:
        _GIVEN.set({name: named.pop(name, None) for name in _OPTIONS})
        verb(*arguments, **named)

    run.__annotations__ = hints
    run.__signature__ = inspect.Signature([*own, *more])  # type: ignore[attr-defined]
    return run


def reach(config: Path, link: str | None, *, ways_back: bool = True) -> Reach:
    """The way that the command line (or the environment) chooses, to one link or to all of them.

    Without `ways_back`, links with `reverse_of` are meant only where they are named.
    """
    given = _GIVEN.get()
    if address := given.get("api"):
        from replicator.cli.remote import Remote

        return Remote(address, link, token_file=given["token_file"], ca_file=given["ca_file"], ways_back=ways_back)
    return Direct(*load_links(config, link, ways_back=ways_back))
