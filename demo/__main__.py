"""The demo's commands: build a world, serve it as a CRM, move its clock."""

import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from types import FrameType
from typing import Annotated

import typer

from demo.crm.home import (
    DEFAULT_PORT,
    THIS_MACHINE,
    DemoError,
    advance_clock,
    announce_place,
    furnish,
    hand_keys_out,
    read_clock,
    set_clock,
)
from demo.crm.limits import Failures, RateLimit
from demo.world.companies import SIZES
from foundation.private_files import write_privately

app = typer.Typer(
    help="A simulated world of three companies with a known truth, and the Habari CRM that serves it.",
    no_args_is_help=True,
    add_completion=False,
)
WEB_MODULES = ("fastapi", "uvicorn", "swagger_ui_bundle")
"""What serves the CRM: the extra ``demo``."""

Home = Annotated[Path, typer.Option(help="The folder the world lives in.", resolve_path=True)]


@contextmanager
def _told() -> Iterator[None]:
    """Errors that the user can mend become one line and exit status 1."""
    try:
        yield
    except (DemoError, ValueError) as error:
        typer.secho(f"demo: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(1) from None


@app.callback()
def refuse_without_the_extra() -> None:
    """Stop before a world is built that could not be served."""
    missing = [module for module in WEB_MODULES if find_spec(module) is None]
    if missing:
        message = f"demo: {', '.join(missing)} is not installed: pip install 'churn-warehouse[demo]' brings it."
        typer.secho(message, fg=typer.colors.RED, err=True)
        raise typer.Exit(1)


@app.command()
def build(
    home: Home,
    size: Annotated[str, typer.Option(help=f"How many customers: {', '.join(SIZES)}.")] = "default",
    customers: Annotated[int | None, typer.Option(help="Customers in all, instead of a size.")] = None,
    seed: Annotated[int, typer.Option(help="The same seed makes the same world.")] = 7,
    churn_home: Annotated[
        Path | None,
        typer.Option(help="The warehouse's home, which gets the companies' keys; the parent of --home by default."),
    ] = None,
    port: Annotated[int, typer.Option(help="The port companies.yaml names until the CRM is served.")] = DEFAULT_PORT,
) -> None:
    """Build the world, its keys and companies.yaml. The same world already there is left as it is."""
    from demo.world.build import build_world, describe, read_manifest

    if size not in SIZES:
        raise typer.BadParameter(f"{size} is no size; choose from {', '.join(SIZES)}", param_hint="--size")
    with _told():
        before = read_manifest(home)
        manifest = build_world(home, customers=customers or SIZES[size], seed=seed, progress=typer.echo)
        warehouse_home = churn_home.resolve() if churn_home else home.parent
        if manifest == before and (home / "clock").exists():
            hand_keys_out(home, warehouse_home)
            typer.echo(f"already there: {describe(manifest)}")
            return
        furnish(home, warehouse_home, port)
        typer.echo(f"built: {describe(manifest)}")


@app.command()
def serve(
    home: Home,
    port: Annotated[int, typer.Option(help="0 takes a free one; the port is written to HOME/port.")] = DEFAULT_PORT,
    host: Annotated[
        str, typer.Option(help="By which name others reach it, and then on all networks of this machine.")
    ] = THIS_MACHINE,
    burst: Annotated[
        int, typer.Option(help="Requests a company may make at once; 0 lifts the limit.")
    ] = RateLimit.burst,
    requests_per_second: Annotated[
        float, typer.Option(help="How fast the burst is filled up again.")
    ] = RateLimit.per_second,
    failure_rate: Annotated[float, typer.Option(help="Share of requests answered with 503.")] = 0.005,
    failure_seed: Annotated[int, typer.Option(help="The same seed fails the same requests.")] = 7,
) -> None:
    """Serve the world as a CRM until SIGTERM or Ctrl-C."""
    import uvicorn

    from demo.crm.server import create_app

    with _told():
        read_clock(home)
        limit = RateLimit(burst=burst, per_second=requests_per_second)
        crm = create_app(home, limit=limit, failures=Failures(failure_rate, failure_seed))
        listener = _listen(THIS_MACHINE if host == THIS_MACHINE else "", port)
    server = uvicorn.Server(uvicorn.Config(crm, log_level="warning", access_log=False, timeout_graceful_shutdown=2))

    def end(_number: int, _frame: FrameType | None) -> None:
        server.should_exit = True

    # Until uvicorn has handlers of its own; and it raises the signal that ended it once more at its end.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    bound = listener.getsockname()[1]
    announce_place(home, host, bound)
    typer.echo(f"Habari CRM ready at http://{host}:{bound} (description at /docs)")
    server.run(sockets=[listener])


@app.command()
def advance(
    home: Home,
    days: Annotated[int | None, typer.Option(min=0, help="Days to move the clock on.")] = None,
    to: Annotated[datetime | None, typer.Option(help="A moment in UTC to set the clock to.")] = None,
) -> None:
    """Move the clock; a running CRM shows the records of the new time at once."""
    if (days is None) == (to is None):
        raise typer.BadParameter("give either --days or --to")
    with _told():
        now = set_clock(home, to.replace(tzinfo=UTC)) if to else advance_clock(home, days or 0)
    typer.echo(f"the clock stands at {now.isoformat()}")


def _listen(address: str, port: int) -> socket.socket:
    """A socket that already takes connections, so that "ready" is true when it is said; on "" that of all networks."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
    except OSError as error:
        listener.close()
        raise DemoError(f"port {port} cannot be used ({error.strerror}); choose another, or 0 for a free one") from None
    listener.listen(128)
    return listener


if __name__ == "__main__":
    write_privately()
    app()
