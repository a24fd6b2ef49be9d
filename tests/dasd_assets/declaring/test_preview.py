"""The rows of a table that the UI shows."""

from pathlib import Path

import pyarrow as pa

from dasd_assets.declaring.declare import preview
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
