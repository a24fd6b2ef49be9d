"""A packed training set is what its rows say, whoever makes it, and is refused where it is not."""

from __future__ import annotations

import json
import mmap
import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support.training_rows import STUDENT, row
from transformers import AutoConfig, AutoTokenizer

from formats.checkpoint_folder import CERTIFICATE, STEPS
from formats.model_format import AUTO, FormatSettings, student_format
from resources.durable import DiskFullError, told_when_full
from training import make_set
from training.dataset import TOKEN_WEIGHTS, PackedDataset, collate
from training.encode_parts import Encoded, SetConfig, encoded_parts
from training.expected_model import tokenizer_parts
from training.make_set import make_training_set
from training.packing import pack
from training.rows import load_samples
from training.samples import SampleError
from training.set_check import check_belongs
from training.settings import Training
from training.steps_drawn import write_drawn
from training.training_set import (
    DESCRIPTION,
    SAMPLES,
    TOKENS,
    TrainingSetError,
    describe,
    open_training_set,
)

SYSTEM = "Be brief."
PREFIX = "<think>\nOnes:"
N = 23


def quiet(line: str) -> None:
    """Nobody is told."""


@pytest.fixture
def set_config(tmp_path: Path) -> SetConfig:
    """Weighted rows in four row groups, some of which a student has begun."""
    rows = [
        row(7**number, weight=0.5 + number % 3, student_prefix_bytes=len(PREFIX) * (number % 2))
        for number in range(N)
    ]
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file, row_group_size=6)
    return SetConfig(
        model_path=str(STUDENT), samples=[str(file)], system_prompt=SYSTEM,
        output_dir=str(tmp_path / "set"), mask_student_prefix=True, max_length=128,
    )  # fmt: skip


@pytest.mark.parametrize(("packing", "multiple_of"), [(True, 1), (True, 4), (False, 1)])
def test_its_batches_are_those_of_the_rows_encoded_in_memory(
    set_config: SetConfig, packing: bool, multiple_of: int
) -> None:
    """As training read them before there were sets."""
    changes = {"packing": packing, "multiple_of": multiple_of}
    make_training_set(set_config.model_copy(update=changes), quiet)
    made = open_training_set(Path(set_config.output_dir))
    tokenizer = AutoTokenizer.from_pretrained(STUDENT)
    samples = load_samples(
        [Path(file) for file in set_config.samples], student_format(tokenizer),
        system_prompt=SYSTEM, max_length=128, vocab_size=len(tokenizer), mask_student_prefix=True,
    )  # fmt: skip
    sequences = pack(samples.lengths, 128, multiple_of, one_each=not packing)
    assert [one.tolist() for one in made.sequences] == [one.tolist() for one in sequences]
    mapped = PackedDataset(made.samples, made.sequences, is_weighted=True)
    in_memory = PackedDataset(samples, sequences, is_weighted=True)
    rows = range(len(sequences))
    batch, wanted = (collate([one[i] for i in rows], pad_id=0) for one in (mapped, in_memory))
    assert set(batch) == {"input_ids", "labels", "position_ids", TOKEN_WEIGHTS}
    for name in wanted:
        assert batch[name].dtype == wanted[name].dtype
        assert torch.equal(batch[name], wanted[name])
    assert made.samples.name(N - 1) == samples.name(N - 1)
    certificate = json.loads((made.folder / CERTIFICATE).read_text(encoding="utf-8"))
    assert certificate["holds"]
    assert certificate["samples_in"] == N
    assert f"{len(sequences)} of {len(sequences)} sequences compared" in str(certificate["checks"])


@pytest.mark.slow
def test_several_processes_make_the_same_files_and_name_the_same_row(
    set_config: SetConfig, tmp_path: Path
) -> None:
    alone = make_training_set(set_config, quiet)
    changes = {"output_dir": str(tmp_path / "side_by_side"), "workers": 2}
    several = set_config.model_copy(update=changes)
    assert make_training_set(several, quiet).files == alone.files
    folders = [Path(one.output_dir) for one in (set_config, several)]
    one, other = ({file.name for file in folder.iterdir()} for folder in folders)
    assert one == other
    bad = [row(number, response_text="" if number in (9, 15) else "Yes.") for number in range(18)]
    pq.write_table(pa.Table.from_pylist(bad), tmp_path / "bad.parquet", row_group_size=6)
    refused = {"samples": [str(tmp_path / "bad.parquet")], "output_dir": str(tmp_path / "refused")}
    with pytest.raises(SampleError, match=r"bad\.parquet, row 9: the response is empty"):
        make_training_set(several.model_copy(update=refused), quiet)
    assert not (tmp_path / "refused").exists()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / TOKENS).write_bytes(b"\0" * 100), rf"{TOKENS} has 100 bytes; .*"
         "truncated"),
        (lambda folder: (folder / SAMPLES).unlink(), rf"{SAMPLES} is gone; .* were written"),
        (lambda folder: (folder / DESCRIPTION).unlink(), "there is no training set"),
        (lambda folder: (folder / DESCRIPTION).write_text("{}"), f"{DESCRIPTION} cannot be read"),
    ],
)  # fmt: skip
def test_a_damaged_set_is_refused_before_it_is_mapped(
    set_config: SetConfig, damage: Callable[[Path], Any], message: str
) -> None:
    folder = Path(set_config.output_dir)
    make_training_set(set_config, quiet)
    damage(folder)
    with pytest.raises(TrainingSetError, match=message):
        open_training_set(folder)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"settings": {"max_length": 64}}, "another value of max_length: 128, not 64"),
        ({"settings": {"packing": False}}, "another value of packing"),
        ({"settings": {"processes": 7}}, r"no multiple of processes x micro_batch_size \(7\)"),
        ({"format": FormatSettings(name="plain")}, "another value of the model's format"),
        ({"template": "{{ messages }}"}, "another value of the tokenizer's chat template"),
        ({"merges": 100}, "another value of the tokenizer's vocabulary|the tokenizer's model"),
        ({"model_config": {"vocab_size": 40}}, "largest token id of .* takes at most 39"),
        ({"model_config": {"max_position_embeddings": 20}}, "tokens of a sample of .* most 20"),
    ],
)
def test_a_set_for_another_tokenizer_template_or_packing_is_refused(
    set_config: SetConfig, tmp_path: Path, changed: dict[str, Any], message: str
) -> None:
    made = make_training_set(set_config, quiet)
    model = Path(shutil.copytree(STUDENT, tmp_path / "model"))
    if "template" in changed:
        (model / "chat_template.jinja").write_text(changed["template"], encoding="utf-8")
    if "merges" in changed:
        file = model / "tokenizer.json"
        content = json.loads(file.read_text(encoding="utf-8"))
        del content["model"]["merges"][changed["merges"] :]
        file.write_text(json.dumps(content), encoding="utf-8")
    shape = {"vocab_size": 10_000, "max_position_embeddings": None}
    settings = {"global_batch_size": 7, "max_length": 128, **changed.get("settings", {})}
    check = partial(
        check_belongs, made, Training(**settings), where="set",
        format=changed.get("format", AUTO), tokenizer=tokenizer_parts(model),
        model_config=SimpleNamespace(**shape | changed.get("model_config", {})),
    )  # fmt: skip
    with pytest.raises(TrainingSetError, match=rf"^set: .*{message}"):
        check()


def test_a_set_belongs_to_the_model_that_it_was_made_for(set_config: SetConfig) -> None:
    check_belongs(
        make_training_set(set_config, quiet), Training(max_length=128), where="set", format=AUTO,
        tokenizer=tokenizer_parts(STUDENT), model_config=AutoConfig.from_pretrained(STUDENT),
    )  # fmt: skip


def test_a_disk_without_room_is_refused_before_any_row_is_tokenised(
    set_config: SetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = SimpleNamespace(free=100)
    monkeypatch.setattr(make_set.shutil, "disk_usage", lambda folder: usage)
    monkeypatch.setattr(make_set, "encoded_parts", lambda *_: pytest.fail("rows were tokenised"))
    with pytest.raises(
        TrainingSetError, match=r"takes about 0 MiB, and 0 MiB are free\. Make room"
    ):
        make_training_set(set_config, quiet)
    assert not list(Path(set_config.output_dir).parent.glob("set*"))


def test_a_set_is_made_once_and_not_of_other_rows_in_its_place(
    set_config: SetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    partial_folder = Path(f"{set_config.output_dir}.partial")
    partial_folder.mkdir()
    (partial_folder / TOKENS).write_text("left by a run that was killed")
    made = make_training_set(set_config, quiet)
    assert not partial_folder.exists()
    assert describe(Path(set_config.output_dir)) == made
    told: list[str] = []
    monkeypatch.setattr(make_set, "encoded_parts", lambda *_: pytest.fail("made twice"))
    assert make_training_set(set_config, told.append) == made
    assert "is made already" in told[0]
    other = set_config.model_copy(update={"system_prompt": "Be long.", "max_length": 256})
    with pytest.raises(TrainingSetError, match="another value of system_prompt, max_length"):
        make_training_set(other, quiet)


def test_of_several_that_make_the_same_set_one_does(
    set_config: SetConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else one would delete what the other is writing."""
    has_begun, is_awaited, n_made = threading.Event(), threading.Event(), []

    def encoded(*given: Any) -> Iterator[Encoded]:
        n_made.append(1)
        has_begun.set()
        assert is_awaited.wait(60)
        yield from encoded_parts(*given)

    def told(line: str) -> None:
        if "waiting until another process" in line:
            is_awaited.set()

    monkeypatch.setattr(make_set, "encoded_parts", encoded)
    with ThreadPoolExecutor() as pool:
        first = pool.submit(make_training_set, set_config, quiet)
        assert has_begun.wait(60)
        second = pool.submit(make_training_set, set_config, told)
        assert first.result() == second.result()
    assert len(n_made) == 1


@pytest.mark.parametrize("change", [Path.unlink, lambda file: file.write_bytes(b"other rows")])
def test_rows_that_are_written_anew_meanwhile_make_no_set(
    set_config: SetConfig, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], Any]
) -> None:
    def encoded(*given: Any) -> Iterator[Encoded]:
        parts = encoded_parts(*given)
        yield next(parts)
        change(Path(set_config.samples[0]))
        yield from parts

    monkeypatch.setattr(make_set, "encoded_parts", encoded)
    with pytest.raises(TrainingSetError, match=r"rows\.parquet: was written anew or taken away"):
        make_training_set(set_config, quiet)
    assert not Path(set_config.output_dir).exists()


@pytest.mark.slow
def test_a_full_disk_of_a_process_that_encodes_is_told(
    set_config: SetConfig, tmp_path: Path
) -> None:
    (tmp_path / "part-000001.npz.tmp").symlink_to("/dev/full")
    two = set_config.model_copy(update={"workers": 2})
    with (
        pytest.raises(DiskFullError, match=r"tokens: the disk is full .* takes about 3 MiB\)"),
        told_when_full(tmp_path / "tokens", 3 * 1024**2),
    ):
        list(encoded_parts(two, tmp_path))


def test_pages_that_were_read_are_let_go_of(
    set_config: SetConfig,
) -> None:
    make_training_set(set_config, quiet)
    made = open_training_set(Path(set_config.output_dir))
    advice: list[int] = []
    object.__setattr__(made.samples, "mapping", SimpleNamespace(madvise=advice.append))
    items = PackedDataset(made.samples, made.sequences)
    for number in range(len(items)):
        assert items[number]["input_ids"].any()
        assert advice == [mmap.MADV_DONTNEED] * (number + 1)
    advice.clear()
    runs = list(made.samples.runs(100))
    assert [i for run in runs for i in range(run.start, run.stop)] == list(range(N))
    assert len(advice) == len(runs) > 2


def test_each_sequence_is_noted_with_its_step(tmp_path: Path) -> None:
    """Two ranks of five sequences each, two of a rank in a step, for two epochs."""
    first, second = (np.arange(5, dtype=np.int32) + 5 * rank for rank in range(2))
    write_drawn([[first, first[::-1]], [second, second[::-1]]], 2, tmp_path)
    rows = pq.read_table(tmp_path / STEPS).to_pylist()
    assert len(rows) == 20
    seen = {(one["sequence"], one["epoch"]): (one["step"], one["rank"]) for one in rows}
    assert [seen[sequence, 1][0] for sequence in range(10)] == [1, 1, 2, 2, 3] * 2
    assert [seen[sequence, 2][0] for sequence in range(10)] == [6, 5, 5, 4, 4] * 2
    assert {rank for (sequence, _), (_, rank) in seen.items() if sequence >= 5} == {1}
