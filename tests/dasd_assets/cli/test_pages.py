"""`dasd pages` goes on for days, other than what else the program `dasd` does."""

from __future__ import annotations

import gc
from pathlib import Path
from types import SimpleNamespace

import pytest

from dasd_assets.cli.__main__ import OBJECTS_UNTIL_COLLECTION
from dasd_assets.cli.pages import pages
from dasd_assets.cli.prepare import OBJECTS_BETWEEN_COLLECTIONS
from dasd_assets.running import pages_server


def test_what_it_leaves_behind_is_collected(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    seen: list[int] = []
    server = SimpleNamespace(
        server_port=1, serve_forever=lambda: seen.append(gc.get_threshold()[0])
    )
    monkeypatch.setenv("DASD_HOME", str(tmp_path))
    monkeypatch.setenv("DASD_PROFILE", "tiny")
    monkeypatch.setattr(pages_server, "pages_server", lambda *given: server)
    before = gc.get_threshold()
    try:
        gc.set_threshold(OBJECTS_UNTIL_COLLECTION)
        pages()
    finally:
        gc.set_threshold(*before)
    assert seen == [OBJECTS_BETWEEN_COLLECTIONS]
