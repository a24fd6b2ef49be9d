"""The pages beside the UI: pages and nothing else, to nobody whose name only leads here."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dasd_assets.declaring.pages import DATA_DOCS, PAGES_URL, page_link
from dasd_assets.running.pages_server import page_named, pages_server, serve_beside
from resources.lake.lake import Lake


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    """Where a lake with a report, a certificate and a secret beside it is served."""
    lake = Lake(root=str(tmp_path / "lake"))
    lake.publish_file("stage_report.html", "<p>Für dich".encode())
    lake.publish_file("checkpoints/dasd/0123/certificate.html", b"<p>certified")
    lake.publish_file("teacher_responses/data.parquet", b"PAR1")
    lake.publish_file(f"{DATA_DOCS}/validations/questions/__none__/1.html", b"<p>validated")
    lake.publish_file("_data_docs/rows.html", b"<p>not a page of the site")
    for name in ("whole", "cut", "unrecorded"):
        lake.publish_page(f"pictures/a/b=c%7Cd e/{name}.png", b"png")
    lake.take_away("pictures/a/b=c%7Cd e/unrecorded.png.manifest.json")
    lake.publish_file("pictures/a/b=c%7Cd e/cut.png", b"pn")
    lake.publish_page("releases/model/logo.png", b"png")
    (tmp_path / "outside.html").write_text("not ours", encoding="utf-8")
    server = pages_server(lake, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    server.server_close()
    thread.join()


def asked(port: int, path: str, method: str = "GET", host: str = "localhost") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, path, headers={"Host": host})
    answer = connection.getresponse()
    status, content = answer.status, answer.read()
    connection.close()
    return status, content


@pytest.mark.parametrize(
    ("path", "content"),
    [
        ("/stage_report.html", "<p>Für dich"),
        ("/", "<p>Für dich"),
        ("/stage_report.html?of=today", "<p>Für dich"),
        ("/checkpoints/dasd/0123/certificate.html", "<p>certified"),
        (f"/{DATA_DOCS}/validations/questions/__none__/1.html", "<p>validated"),
        ("/pictures/a/b%3Dc%257Cd%20e/whole.png", "png"),
    ],
)
def test_pages_are_served(port: int, path: str, content: str) -> None:
    assert asked(port, path) == (200, content.encode())
    assert asked(port, path, "HEAD") == (200, b"")


@pytest.mark.parametrize(
    "path",
    [
        "/policy_comparison.html", "/../outside.html", "/%2e%2e/outside.html", "/.hidden.html",
        "/pictures/a/b%3Dc%257Cd%20e/cut.png", "/pictures/a/b%3Dc%257Cd%20e/unrecorded.png",
        "/pictures/a/b%3Dc%257Cd%20e/whole.png.manifest.json", "/releases/model/logo.png",
        "/teacher_responses/data.parquet", "/checkpoints", "/a\\..\\outside.html", "/a%00.html",
        "/_data_docs/rows.html", f"/{DATA_DOCS}/../../../../rows.html",
        f"/{DATA_DOCS}/.hidden.html",
    ],
)  # fmt: skip
def test_nothing_else_is(port: int, path: str) -> None:
    assert asked(port, path)[0] == 404


def test_a_foreign_name_for_this_machine_gets_nothing(port: int) -> None:
    assert asked(port, "/stage_report.html", host="rebound.example")[0] == 404
    assert asked(port, "/stage_report.html", host=f"127.0.0.1:{port}")[0] == 200


def test_nothing_can_be_written(port: int) -> None:
    assert asked(port, "/stage_report.html", "POST")[0] == 501


def test_it_ends_with_the_process_beside_it(tmp_path: Path) -> None:
    server = pages_server(Lake(root=str(tmp_path)), "127.0.0.1", 0)
    serve_beside(server, beside=7, parent=lambda: 1)
    with pytest.raises(ConnectionRefusedError):
        asked(server.server_port, "/")


def test_the_front_page_is_the_report() -> None:
    assert page_named("/") == page_named("/stage_report.html") == "stage_report.html"


def test_metadata_links_to_where_pages_are_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(PAGES_URL, raising=False)
    assert page_link("a b.html").url == "http://127.0.0.1:3001/a%20b.html"
    monkeypatch.setenv(PAGES_URL, "https://pages.example/dasd/")
    assert page_link("stage_report.html").url == "https://pages.example/dasd/stage_report.html"


def test_a_port_that_is_taken_is_named(port: int, tmp_path: Path) -> None:
    with pytest.raises(OSError, match=rf"at 127\.0\.0\.1:{port}: Address already in use\. Choose"):
        pages_server(Lake(root=str(tmp_path)), "127.0.0.1", port)
