"""Where another trainer is installed, its own reader opens what was exported for it.

None of them is among the project's packages: they pin what they train with. `pip install --no-deps`
into a folder on PYTHONPATH is enough for these tests.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import datasets
import pytest
import yaml
from support.release_lake import PROFILE
from support.training_rows import STUDENT
from transformers import AutoTokenizer

from dasd_assets.release.exporting import export
from dasd_assets.release.library import Library
from resources.lake.lake import Lake

pytestmark = pytest.mark.slow

STAGE = "stage1_low_temperature"


def exported(lake: Lake, folder: Path, library: Library) -> dict[str, Any]:
    """The first row of the first stage, with all columns that there can be."""
    export(lake, PROFILE, folder, library, logprobs=True)
    file = str(folder / f"{STAGE}.parquet")
    rows = datasets.load_dataset(
        "parquet", data_files=file, split="train", cache_dir=str(folder.parent / "cache")
    )
    return dict(rows[0])


def known(lake: Lake) -> tuple[str, str]:
    """Question and answer of that row."""
    row = lake.read("divergence_sample", {"temperature": "low"}).to_pylist()[0]
    return row["question"], row["response_text"]


def test_trl(lake: Lake, tmp_path: Path) -> None:
    trl = pytest.importorskip("trl.data_utils")
    row = exported(lake, tmp_path / "out", Library.TRL)
    assert trl.is_conversational(row)
    text = trl.apply_chat_template(row, AutoTokenizer.from_pretrained(STUDENT))
    question, answer = known(lake)
    assert question in text["prompt"] and answer in text["completion"]


def test_axolotl(lake: Lake, tmp_path: Path) -> None:
    axolotl = pytest.importorskip("axolotl.prompt_strategies.chat_template")
    from axolotl.utils.dict import DictDefault

    row = exported(lake, tmp_path / "out", Library.AXOLOTL)
    named = yaml.safe_load((tmp_path / "out" / "datasets.yaml").read_text())["datasets"][0]
    tokenizer = AutoTokenizer.from_pretrained(STUDENT)
    settings = {
        "train_on_inputs": False,
        "sequence_len": 4096,
        "chat_template": "tokenizer_default",
    }
    strategy = axolotl.load(tokenizer, DictDefault(settings), DictDefault(named))
    tokens = strategy.tokenize_prompt(row)
    with_loss = [token for token in tokens["labels"] if token != -100]
    question, answer = known(lake)
    assert question in tokenizer.decode(tokens["input_ids"])
    assert tokenizer.decode(with_loss) == answer + tokenizer.eos_token


def test_llama_factory(lake: Lake, tmp_path: Path) -> None:
    parser = pytest.importorskip("llamafactory.data.parser")
    from llamafactory.data.converter import get_dataset_converter

    row = exported(lake, tmp_path / "out", Library.LLAMA_FACTORY)
    (named,) = parser.get_dataset_list([STAGE], str(tmp_path / "out"))
    assert (tmp_path / "out" / named.dataset_name).is_file()
    converted = get_dataset_converter(named.formatting, named, SimpleNamespace(media_dir=""))(row)
    question, answer = known(lake)
    assert converted["_prompt"] == [{"role": "user", "content": question}]
    assert converted["_response"] == [{"role": "assistant", "content": answer}]


def test_ms_swift(lake: Lake, tmp_path: Path) -> None:
    swift = pytest.importorskip("swift.dataset")
    exported(lake, tmp_path / "out", Library.MS_SWIFT)
    rows, _ = swift.load_dataset([str(tmp_path / "out" / f"{STAGE}.parquet")], num_proc=1)
    *_, asked, answered = rows[0]["messages"]
    question, answer = known(lake)
    assert asked == {"role": "user", "content": question, "loss": False}
    assert answered == {"role": "assistant", "content": answer, "loss": True}
