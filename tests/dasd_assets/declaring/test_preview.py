"""The rows of a table that the UI shows."""

from pathlib import Path

import dagster as dg
import pyarrow as pa

from dasd_assets.declaring.declare import (
    LAKE_ROOT,
    place,
    preview,
    quarantine,
    readable,
    with_place,
)
from resources.lake.lake import Lake
from resources.lake.tables.questions import QUARANTINED_ROWS


def test_a_preview_loads_and_links_nothing_that_a_drop_says(tmp_path: Path) -> None:
    lake, shard = Lake(root=str(tmp_path)), {"question_shard": "a"}
    said = '![seen](https://example.org/seen.png)\n<img src="//e">'
    row = {"drop": "a.jsonl", "line": 1, "reason": "unknown_domain", "evidence": said}
    lake.write("quarantined_rows", pa.Table.from_pylist([row], schema=QUARANTINED_ROWS), shard)
    shown = preview(lake, "quarantined_rows", shard)
    assert "a.jsonl" in shown and "unknown_domain" in shown
    assert r"\!\[seen\]\(https\://example.org/seen.png\)⏎&lt;img" in shown


def test_unusable_rows_are_told_with_line_reason_and_what_was_found() -> None:
    said = "![seen](https://example.org/seen.png) <b>|</b>"
    rows = [
        {"drop": "a.jsonl", "line": line, "reason": "unknown_domain", "evidence": said}
        for line in range(7, 37)
    ]
    shown = quarantine(pa.Table.from_pylist(rows, schema=QUARANTINED_ROWS))["quarantined_rows"]
    lines = str(shown.value).splitlines()
    assert lines[0] == "| file | line | reason | what was found |"
    assert lines[2].startswith("| a.jsonl | 7 | unknown_domain | ")
    assert r"\!\[seen\]" in lines[2] and "<b>" not in lines[2] and r"\|" in lines[2]
    assert len(lines) == 2 + 20 + 2 and lines[-1] == "The first 20 of 30."
    assert quarantine(QUARANTINED_ROWS.empty_table()) == {}


def test_a_row_more_than_the_panel_shows_is_not_previewed(tmp_path: Path) -> None:
    lake, shard = Lake(root=str(tmp_path)), {"question_shard": "a"}
    row = {"drop": "a.jsonl", "line": 1, "reason": "unknown_domain", "evidence": ""}
    lake.write("quarantined_rows", pa.Table.from_pylist([row] * 5, schema=QUARANTINED_ROWS), shard)
    header = preview(lake, "quarantined_rows", shard).splitlines()[0]
    assert header == "| column | row 1 | row 2 | row 3 |"


def test_numbers_are_rounded_for_people_and_nothing_else_is() -> None:
    exact = {
        "share": 1 / 3,
        "tokens": 123_456.789,
        "n": 123_456,
        "by": {"low": 2 / 3},
        "x": "0.3333",
    }
    rounded = {"share": 0.3333, "tokens": 123_500.0, "n": 123_456, "by": {"low": 0.6667},
               "x": "0.3333"}  # fmt: skip
    assert readable(exact) == rounded


def test_a_path_is_right_when_the_folder_has_moved(tmp_path: Path) -> None:
    before, after = Lake(root=str(tmp_path / "old")), Lake(root=str(tmp_path / "new"))
    told = place(before, Path(before.root, "reports", "report.html"))
    assert told.value == "reports/report.html"

    @dg.asset
    def report() -> None:
        """Has been made before the folder moved."""

    spec = with_place(report, after.root).get_asset_spec(report.key)
    assert Path(spec.metadata[LAKE_ROOT].value, told.value) == tmp_path / "new/reports/report.html"
