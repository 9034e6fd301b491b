"""The program `replicator`: wires the verbs, and turns our errors into one clear message and an exit code."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.completion import completion_init  # type: ignore[attr-defined]
from typer.core import TyperGroup

from replicator import __version__
from replicator.cli.apply import apply
from replicator.cli.audit import audit
from replicator.cli.check import check
from replicator.cli.completion import completion
from replicator.cli.demo import demo
from replicator.cli.doctor import doctor
from replicator.cli.drill import drill
from replicator.cli.failover import failover
from replicator.cli.groups import groups
from replicator.cli.import_mm2 import import_mm2
from replicator.cli.init import init
from replicator.cli.lag import lag
from replicator.cli.output import complain
from replicator.cli.pause import pause
from replicator.cli.plan import plan
from replicator.cli.promote import promote
from replicator.cli.reach import through_api
from replicator.cli.ready import ready
from replicator.cli.remove import remove
from replicator.cli.restore import restore
from replicator.cli.resume import resume
from replicator.cli.reverse import reverse
from replicator.cli.run import run
from replicator.cli.status import status
from replicator.cli.topics import topics
from replicator.cli.translate import translate
from replicator.cli.verify import verify
from replicator.errors import ReplicatorError


class Verbs(TyperGroup):
    """Every verb's ReplicatorError becomes a message on stderr and the error's exit code; anything else is a bug."""

    def invoke(self, ctx: Any) -> Any:
        """Run the verb."""
        try:
            return super().invoke(ctx)
        except ReplicatorError as error:
            complain(str(error))
            raise typer.Exit(error.exit_code) from error


app = typer.Typer(
    name="replicator",
    cls=Verbs,
    help="Copies topics between Kafka clusters, continuously. Start with `replicator demo` or `replicator init`.",
    epilog="Exit codes: 0 ok, 1 differs or not ready, 2 usage or configuration, 3 unreachable, 4 wrong state.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"replicator {__version__}")
        raise typer.Exit()


@app.callback()
def _common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


app.command("demo")(demo)
app.command("init")(init)
app.command("check")(through_api(check))
app.command("doctor")(through_api(doctor))
app.command("plan")(plan)
app.command("run")(run)
app.command("apply")(apply)
app.command("status")(through_api(status))
app.command("lag")(through_api(lag))
app.command("topics")(through_api(topics))
app.command("groups")(through_api(groups))
app.command("pause")(through_api(pause))
app.command("resume")(through_api(resume))
app.command("ready")(through_api(ready))
app.command("promote")(through_api(promote))
app.command("failover")(through_api(failover))
app.command("restore")(through_api(restore))
app.command("reverse")(reverse)
app.command("drill")(drill)
app.command("remove")(through_api(remove))
app.command("audit")(through_api(audit))
app.command("translate")(through_api(translate))
app.command("verify")(verify)
app.command("import-mm2")(import_mm2)
app.command("completion")(completion)


def main() -> None:
    """The entry point."""
    completion_init()  # the classes that answer the scripts of `replicator completion`
    app(prog_name="replicator")


if __name__ == "__main__":
    main()
