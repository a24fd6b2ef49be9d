"""A training set is made once, also where several find the one that is there damaged."""

from __future__ import annotations

import logging
import threading
from pathlib import Path
from typing import Any

import pytest

from dasd_assets.temperature_scheduled_learning.training_set import published_set
from resources.lake.lake import Lake

NAME, KEY, FILE = "training_sets/low_temperature", "abc", "tokens.npy"


def test_of_two_that_find_it_damaged_the_second_takes_what_the_first_has_made(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    lake, log = Lake(root=str(tmp_path / "lake")), logging.getLogger("two makers")
    caplog.set_level(logging.INFO)
    is_waiting = threading.Event()

    def noted(line: logging.LogRecord) -> bool:
        if "waiting" in line.msg:
            is_waiting.set()
        return True

    log.addFilter(noted)

    def written(folder: Path, content: str) -> Any:
        if not folder.is_dir():
            folder.mkdir()
            (folder / FILE).write_text(content, encoding="utf-8")
        return (folder / FILE).read_text(encoding="utf-8")

    folder, _ = published_set(lake, NAME, KEY, lambda folder: written(folder, "whole"), log)
    (folder / FILE).write_text("damaged", encoding="utf-8")
    found: list[Any] = []

    def second() -> None:
        found.append(published_set(lake, NAME, KEY, lambda there: written(there, "2nd"), log))

    slower = threading.Thread(target=second)

    def while_another_comes(folder: Path) -> Any:
        slower.start()
        assert is_waiting.wait(10), "the other one has not waited"
        return written(folder, "whole")

    assert published_set(lake, NAME, KEY, while_another_comes, log) == (folder, "whole")
    slower.join()
    assert found == [(folder, "whole")]
    (warning,) = [line for line in caplog.messages if "it is put aside, and made again" in line]
    assert warning.startswith("training_sets/low_temperature/abc has in tokens.npy bytes")
