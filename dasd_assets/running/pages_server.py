"""The lake's pages over HTTP, beside the Dagster UI: reports, viewers, certificates, pictures.

Read-only, and nothing but these: no data, no weights. A damaged picture is none. Beside `dasd ui`
it ends with the process that it was started by, whose place that gives to `dagster dev`; `dasd
pages` is the server alone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from dasd_assets.declaring.pages import DATA_DOCS
from resources.lake.pictures import HASH_LETTERS, PICTURES

if TYPE_CHECKING:
    from resources.lake.lake import Lake

FRONT: Final = "stage_report.html"
LOCAL: Final = frozenset({"127.0.0.1", "localhost", "::1"})
SECONDS_BETWEEN_LOOKS: Final = 1.0
CONTENT_TYPES: Final = {".html": "text/html; charset=utf-8", ".png": "image/png"}
HEADERS: Final = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def page_named(path: str) -> str | None:
    """The file that a request's path means, below the lake's root.

    None if it can be neither a page nor a picture.
    """
    name = unquote(urlsplit(path).path).lstrip("/") or FRONT
    inner = name.removeprefix(f"{DATA_DOCS}/")
    hidden = "._" if inner == name else "."
    parts = PurePosixPath(inner).parts
    is_picture = name.endswith(".png") and parts[0] == PICTURES
    is_shown = is_picture or name.endswith(".html")
    is_page = is_shown and not any(part[0] in hidden for part in parts)
    return name if is_page and "\\" not in name and "\0" not in name else None


def pages_server(lake: Lake, host: str, port: int) -> ThreadingHTTPServer:
    """A server that is not running yet; port 0 is any.

    Raises:
        OSError: the port is taken, or the host is none of this machine's; the message says so.
    """

    from resources.lake.lake_files import LakeFiles

    class Pages(BaseHTTPRequestHandler):
        server_version, sys_version = "dasd", ""

        def do_GET(self) -> None:
            name = page_named(self.path)
            content = None
            if name is not None and self._is_for_us():
                is_local = name.startswith(DATA_DOCS)
                content = LakeFiles.content(lake, name) if is_local else _whole(lake, name)
            if name is None or content is None:
                self.send_error(404, "no such page")
                return
            self.send_response(200)
            about = {
                "Content-Type": CONTENT_TYPES[PurePosixPath(name).suffix],
                "Content-Length": str(len(content)),
            }
            for header, value in {**HEADERS, **about}.items():
                self.send_header(header, value)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content)

        do_HEAD = do_GET  # noqa: N815

        def _is_for_us(self) -> bool:
            """No page for a foreign site whose name was made to mean this machine."""
            named = urlsplit(f"//{self.headers.get('Host', '')}").hostname
            return host not in LOCAL or named in LOCAL

        def log_message(self, *given: Any) -> None:
            """Nothing: the terminal is the UI's."""

    try:
        return ThreadingHTTPServer((host, port), Pages)
    except OSError as error:
        raise OSError(
            f"pages cannot be served at {host}:{port}: {error.strerror}. Choose another port "
            "(--pages-port of `dasd ui`, --port of `dasd pages`)"
        ) from error


def _whole(lake: Lake, name: str) -> bytes | None:
    """A file that is what was written; None if there is none, or a picture that is not."""
    from resources.lake.manifest import ManifestError, record_of
    from resources.lake.manifests import manifest_of

    content = lake.content(name)
    if content is None or not name.startswith(f"{PICTURES}/"):
        return content
    try:
        manifest = manifest_of(lake, name)
    except ManifestError:
        return None
    found = record_of(content)
    if manifest is None:  # of what was made before: its name says what it was
        is_whole = name.endswith(f".{found.sha256[:HASH_LETTERS]}.png")
    else:
        is_whole = found in manifest.versions
    return content if is_whole else None


def serve_beside(
    server: ThreadingHTTPServer, beside: int, parent: Callable[[], int] = os.getppid
) -> None:
    """Serve until the process that this was started by is gone.

    Args:
        beside: its id.
    """
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    while parent() == beside:
        thread.join(SECONDS_BETWEEN_LOOKS)
    server.shutdown()
    server.server_close()


def start(host: str, port: int) -> None:
    """Start it as a process of its own, which ends with this one."""
    subprocess.Popen(
        [sys.executable, "-m", __name__, host, str(port), str(os.getpid())],
        stdin=subprocess.DEVNULL,
    )


def main() -> None:
    """Serve the pages of the active profile; arguments: host, port, id of the parent."""
    from dasd_assets.profile.home import active_profile
    from dasd_assets.profile.open_lake import open_lake

    host, port, beside = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    try:
        server = pages_server(open_lake(active_profile()), host, port)
    except OSError as error:
        sys.exit(str(error))
    with suppress(KeyboardInterrupt):  # Ctrl-C is for all processes of the terminal
        serve_beside(server, beside)


if __name__ == "__main__":
    main()
