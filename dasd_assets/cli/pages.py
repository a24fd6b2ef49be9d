"""`dasd pages`: the lake's pages and pictures over HTTP, without the UI."""

from __future__ import annotations

import gc
from contextlib import suppress
from typing import Annotated

import typer

from dasd_assets.cli.exits import refusing
from dasd_assets.cli.prepare import OBJECTS_BETWEEN_COLLECTIONS
from dasd_assets.profile import ProfileError
from dasd_assets.profile.home import active_profile


def pages(
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 3001,
    host: Annotated[str, typer.Option(help="Interface to listen on.")] = "127.0.0.1",
) -> None:
    """Serve the pages and pictures that the UI links to, where `dasd ui` does not.

    For a webserver that something else starts, such as systemd. Where it is reached by another
    address, DASD_PAGES_URL has to say so when things are run.
    """
    from dasd_assets.profile.open_lake import open_lake
    from dasd_assets.running.pages_server import FRONT, pages_server

    with refusing(ProfileError, OSError):
        server = pages_server(open_lake(active_profile()), host, port)
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    typer.echo(f"report: http://{host}:{server.server_port}/{FRONT}")
    with suppress(KeyboardInterrupt):
        server.serve_forever()
