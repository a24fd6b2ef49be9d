"""The lines of docs/object-store.md that send what steps print to the bucket."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import dagster as dg
import pytest
import yaml
from support.object_store import ObjectStore

from dasd_assets.profile import PROJECT_ROOT

pytestmark = pytest.mark.slow


@dg.asset
def talkative() -> None:
    """Says something."""
    print("heard in the bucket", file=sys.stderr)


def test_what_a_step_prints_is_in_the_bucket(
    store: ObjectStore, bucket: str, tmp_path: Path
) -> None:
    page = (PROJECT_ROOT / "docs" / "object-store.md").read_text(encoding="utf-8")
    (lines,) = re.findall(r"```yaml\n(compute_logs:.*?)```", page, re.DOTALL)
    (tmp_path / "dagster.yaml").write_text(lines.replace("my-bucket", bucket), encoding="utf-8")
    assert yaml.safe_load(lines)["compute_logs"]["config"]["prefix"] == "dasd-logs"
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert dg.materialize([talkative], instance=instance).success
    printed = [
        store.client().get_object(Bucket=bucket, Key=key)["Body"].read().decode()
        for key in store.keys(bucket)
        if key.startswith("dasd-logs/") and key.endswith(".err")
    ]
    assert any("heard in the bucket" in text for text in printed)
