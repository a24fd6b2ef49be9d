"""Each check on a release passes on a good one and fails on one that was tampered with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.checked_lake import check_results, failed
from support.release_lake import RELEASES, make_release_lake, put_benchmark, release
from support.small_lake import filled

from dasd_assets.profile.data_contracts import CONTRACTS
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

Spoil = Callable[[Path, Lake], object]


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("good") / "lake"
    lake = Lake(root=str(root))
    make_release_lake(lake)
    assert release(lake, *RELEASES).success
    return root


@pytest.fixture
def lake(good: Path, tmp_path: Path) -> Lake:
    shutil.copytree(good, tmp_path / "lake", symlinks=True)
    return Lake(root=str(tmp_path / "lake"))


def replace(name: str, old: str, new: str) -> Spoil:
    """Other text in a file; the checksums then do not hold either."""

    def spoil(folder: Path, lake: Lake) -> None:
        text = (folder / name).read_text(encoding="utf-8")
        assert old in text
        (folder / name).write_text(text.replace(old, new), encoding="utf-8")

    return spoil


def remove(name: str) -> Spoil:
    return lambda folder, lake: (folder / name).unlink()


def cut(name: str) -> Spoil:
    """A file that ends too early."""
    return lambda folder, lake: (folder / name).write_bytes((folder / name).read_bytes()[:-100])


def other_shape(folder: Path, lake: Lake) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"intermediate_size": 300}))


def another_layer(folder: Path, lake: Lake) -> None:
    config = json.loads((folder / "config.json").read_text())
    layers = config["layer_types"]
    changed = {"num_hidden_layers": 4, "layer_types": [*layers, layers[0]]}
    (folder / "config.json").write_text(json.dumps(config | changed))


def rows_twice(name: str) -> Spoil:
    def spoil(folder: Path, lake: Lake) -> None:
        file = folder / "data" / name / "train-00000-of-00001.parquet"
        rows = pq.read_table(file)
        pq.write_table(pa.concat_tables([rows, rows]), file)

    return spoil


def fewer_columns(folder: Path, lake: Lake) -> None:
    file = folder / "data" / "stage3_mixed_policy" / "train-00000-of-00001.parquet"
    pq.write_table(pq.read_table(file).drop_columns("policy"), file)


def no_longer_kept(folder: Path, lake: Lake) -> None:
    cell = {"temperature": "low", "question_shard": "drop-01"}
    lake.write("filtered_responses", filled("filtered_responses"), cell)


def continuation_rejected(folder: Path, lake: Lake) -> None:
    lake.write(
        "rejected_continuations", filled("rejected_continuations", {"continuation_id": "c1"})
    )


def asked_in_an_evaluation(folder: Path, lake: Lake) -> None:
    question = lake.read("divergence_sample", {"temperature": "low"})["question"][0].as_py()
    put_benchmark(lake, "new", question)


WEIGHTS = "model.safetensors"
STAGE_3 = "data/stage3_mixed_policy/train-00000-of-00001.parquet"
SUMS, LOADS, CARD = {"checksums_hold"}, {"loads"}, {"card_complete"}

CASES: list[tuple[str, Spoil, set[str]]] = [
    ("model_release", replace("LICENSE", "Apache", "Another"), SUMS),
    ("model_release", cut(WEIGHTS), SUMS | LOADS),
    ("model_release", remove(WEIGHTS), SUMS | LOADS),
    ("model_release", remove("chat_template.jinja"), SUMS | LOADS),
    ("model_release", replace("chat_template.jinja", "messages", "}}"), SUMS | LOADS),
    ("model_release", replace("config.json", "qwen3", "no_such"), SUMS | LOADS),
    ("model_release", other_shape, SUMS | LOADS),
    ("model_release", another_layer, SUMS | LOADS),
    ("model_release", replace("README.md", "## Evaluation", "## Else"), SUMS | CARD),
    ("model_release", replace("README.md", "pipeline_tag: text-generation\n", ""), SUMS | CARD),
    ("model_release", remove("README.md"), SUMS | CARD),
    ("dataset_release", replace("profile.yaml", "seed: 0", "seed: 1"), SUMS),
    ("dataset_release", cut(STAGE_3), SUMS | LOADS),
    ("dataset_release", fewer_columns, SUMS | LOADS),
    ("dataset_release", replace("README.md", "num_examples: 1", "num_examples: 2"), SUMS | LOADS),
    ("dataset_release", replace("README.md", "configs:", "others:"), SUMS | LOADS | CARD),
    ("dataset_release", replace("README.md", "## Columns", "## Else"), SUMS | CARD),
    ("dataset_release", remove("README.md"), SUMS | LOADS | CARD),
    ("dataset_release", rows_twice("stage3_mixed_policy"), SUMS | LOADS | {"kept_responses"}),
    ("dataset_release", no_longer_kept, {"kept_responses"}),
    ("dataset_release", continuation_rejected, {"kept_responses"}),
    ("dataset_release", asked_in_an_evaluation, {"not_contaminated"}),
]


@pytest.mark.parametrize("asset", RELEASES)
def test_a_good_release_passes(lake: Lake, asset: str) -> None:
    assert failed(check_results(lake, asset)) == set()


@pytest.mark.parametrize(("asset", "spoil", "broken"), CASES)
def test_a_tampered_release_fails(lake: Lake, asset: str, spoil: Spoil, broken: set[str]) -> None:
    folder = Path(lake.root, "releases", asset.removesuffix("_release"))
    spoil(folder, lake)
    evaluations = check_results(lake, asset)
    assert failed(evaluations) == broken
    for name in broken:
        assert evaluations[name].metadata["failing_examples"].value
        assert evaluations[name].severity == dg.AssetCheckSeverity.ERROR


def test_there_is_a_failing_case_for_every_check() -> None:
    for asset in RELEASES:
        covered = {check for name, _, broken in CASES if name == asset for check in broken}
        assert covered == {contract.name for contract in CONTRACTS[asset]}
        assert all(contract.blocking for contract in CONTRACTS[asset])
