"""The certificate holds of sound batches, and of no batch into which a fault was put."""

from __future__ import annotations

import json
import os
import random
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.training_rows import STUDENT, row, sample_files, with_set
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    GptOssConfig,
    GptOssForCausalLM,
    Trainer,
    TrainingArguments,
)

from formats.checkpoint_folder import LOG, STEPS, partial_folder
from formats.model_format import student_format
from training import sft
from training.batch_checks import batch_fault, order_fault
from training.certificate import CertificateError, certify_set
from training.certificate_page import render, visible
from training.dataset import TOKEN_WEIGHTS, PackedDataset, collate
from training.errors import TrainingError
from training.packing import pack
from training.rows import load_samples
from training.samples import NO_LOSS, Samples
from training.sft import SftConfig, train
from training.start_check import certify_start, check_same_set
from training.training_set import Description, TrainingSet, open_training_set

pytestmark = pytest.mark.slow

SYSTEM = "Be brief."
MAX_LENGTH = 256
DESCRIBED = Description.model_validate(
    {
        "made_of": {
            "version": "1", "tokenizer": {}, "format": {}, "system_prompt": SYSTEM,
            "mask_student_prefix": False, "lengths_compared": True, "max_length": MAX_LENGTH,
            "packing": True, "multiple_of": 1, "sample_files": [("sample.parquet", "0", 9)],
        },
        "n_tokens": 1, "n_sequences": 1, "longest": 1, "largest_token": 1, "files": {},
    }
)  # fmt: skip
RANKS = Path(__file__).parents[1] / "support" / "certify_on_ranks.py"

Write = Callable[..., Path]
Certified = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(STUDENT)


@pytest.fixture(scope="module")
def student() -> Any:
    return AutoModelForCausalLM.from_pretrained(STUDENT, dtype=torch.float32)


def prefixed(number: int) -> dict[str, Any]:
    return row(number, student_prefix_bytes=len("<think>\nOnes:") if number % 2 else 0)


@pytest.fixture
def certified(tmp_path: Path, write_rows: Write, tokenizer: Any, student: Any) -> Certified:
    """Certifies nine packed samples as the trainer would see them, with parts exchanged."""

    def run(
        *,
        mask: bool = False,
        samples: Callable[[Samples], Samples] = lambda samples: samples,
        sequences: Callable[[list[np.ndarray]], list[np.ndarray]] = lambda sequences: sequences,
        dataset: type[PackedDataset] = PackedDataset,
        collator: Callable[..., dict[str, torch.Tensor]] = collate,
        sampler: Callable[[Any], Any] | None = None,
        model: Any = None,
        bf16: bool = False,
    ) -> dict[str, Any]:
        file = write_rows(*(prefixed(number) for number in range(9)))
        loaded = load_samples(
            [file], student_format(tokenizer), system_prompt=SYSTEM, max_length=MAX_LENGTH,
            vocab_size=len(tokenizer), mask_student_prefix=mask,
        )  # fmt: skip
        changed = samples(loaded)
        packed = sequences(pack(changed.lengths, MAX_LENGTH))
        trainer = Trainer(
            model=model or student,
            args=TrainingArguments(
                output_dir=str(tmp_path), per_device_train_batch_size=2, use_cpu=True,
                report_to="none", remove_unused_columns=False, bf16=bf16,
            ),
            train_dataset=dataset(changed, packed),
            data_collator=partial(collator, pad_id=tokenizer.eos_token_id),
        )  # fmt: skip
        loader = trainer.get_train_dataloader()
        if sampler:
            loader = DataLoader(
                trainer.train_dataset, batch_sampler=sampler(trainer.train_dataset),
                collate_fn=loader.collate_fn,
            )  # fmt: skip
        before = _state(model or student)
        certify_set(
            changed, packed, student_format(tokenizer), system_prompt=SYSTEM,
            mask_student_prefix=mask, max_length=MAX_LENGTH, folder=tmp_path,
        )  # fmt: skip
        certify_start(
            TrainingSet(tmp_path, DESCRIBED, changed, packed), loader, model or student, tokenizer,
            autocast=trainer.accelerator.autocast, epochs=2, folder=tmp_path,
        )  # fmt: skip
        assert _state(model or student) == before
        return dict(json.loads((tmp_path / "certificate.json").read_text()))

    return run


def _state(model: Any) -> tuple[Any, ...]:
    """What certifying must leave alone: random numbers, and how the model computes."""
    generators = torch.get_rng_state().tolist(), random.getstate(), str(np.random.get_state())
    return *generators, model.training, model.config.use_cache


def test_sound_batches_are_certified(certified: Certified, tokenizer: Any) -> None:
    certificate = certified()
    assert certificate["holds"]
    assert all(check["passed"] for check in certificate["checks"])
    assert certificate["samples_in"] == certificate["samples_out"] == 9
    sample = certificate["first_samples"][0]
    number = sample["row"]
    assert sample["trained"] == row(number)["response_text"] + tokenizer.eos_token
    assert f"What is {number} + 1?" in sample["masked"]
    assert sample["end_token_trained"]
    assert [run["trained"] for run in sample["runs"]] == [False, True]
    (isolation,) = certificate["isolation"]
    assert isolation["n_samples"] > 2
    assert isolation["max_difference"] < 1e-4
    assert isolation["max_leak"] < 1e-4
    assert certificate["masked_prefix_tokens"] == 0
    assert any("packing efficiency" in warning for warning in certificate["warnings"])


def test_a_students_prefix_is_masked_where_that_was_asked_for(certified: Certified) -> None:
    certificate = certified(mask=True)
    assert certificate["holds"]
    assert certificate["masked_prefix_tokens"] > 0
    masked = [sample["masked"] for sample in certificate["first_samples"] if sample["row"] % 2]
    assert masked
    assert all(text.endswith("<think>\nOnes:") for text in masked)


def shifted(change: int, prompt: bool) -> Callable[[Samples], Samples]:
    """The mask of one sample moved, together with what is taken for the prompt or alone."""

    def shift(samples: Samples) -> Samples:
        moved = np.zeros(len(samples), np.int32)
        moved[4] = change
        n_prompt = samples.n_prompt + moved if prompt else samples.n_prompt
        return replace(samples, n_prompt=n_prompt, n_masked=samples.n_masked + moved)

    return shift


def without(place: Callable[[int, int, int], int], n_response: bool = True) -> Any:
    """The samples with one token of sample 4 gone; `place` of (start, prompt's end, end)."""

    def drop(samples: Samples) -> Samples:
        start, end = int(samples.starts[4]), int(samples.starts[5])
        at = place(start, start + int(samples.n_prompt[4]), end)
        starts = samples.starts - (np.arange(len(samples.starts)) > 4)
        stated = np.full(len(samples), -1, np.int32)
        if n_response:
            stated = (samples.lengths - samples.n_prompt).astype(np.int32)
        return replace(
            samples,
            token_ids=np.delete(samples.token_ids, at),
            starts=starts,
            n_response=stated,
        )

    return drop


def untrained(samples: Samples) -> Samples:
    n_masked = samples.n_masked.copy()
    n_masked[4] = samples.lengths[4]
    return replace(samples, n_masked=n_masked)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (shifted(1, prompt=False), r"loss_mask\): .*row 4: .* 1 beyond the prompt"),
        (shifted(-1, prompt=False), r"loss_mask\): .*row 4: .* -1 beyond the prompt"),
        (shifted(1, prompt=True), r"loss_mask\): .*row 4: .* does not end with"),
        (shifted(-1, prompt=True), r"loss_mask\): .*row 4: .* does not end with"),
        (without(lambda start, prompt, end: end - 1), r"nothing_cut\): .*row 4: "),
        (without(lambda s, p, end: end - 1, False), r"end_token_trained\): .*row 4: "),
        (without(lambda s, prompt, e: prompt + 2, False), r"text_as_in_table\): .*row 4: the tok"),
        (untrained, r"end_token_trained\): .*row 4: "),
    ],
)
def test_a_fault_in_the_samples_is_found(
    certified: Certified, tmp_path: Path, change: Any, message: str
) -> None:
    with pytest.raises(CertificateError, match=message):
        certified(samples=change)
    certificate = json.loads((tmp_path / "certificate.json").read_text())
    assert not certificate["holds"]
    assert "does not hold" in (tmp_path / "certificate.html").read_text()


def test_a_masked_prefix_of_one_token_too_many_is_found(certified: Certified) -> None:
    for change in (1, -1):
        moved = partial(_shift_prefix, change=change)
        with pytest.raises(CertificateError, match=r"text_as_in_table\): .*row 3: the masked"):
            certified(mask=True, samples=moved)


def _shift_prefix(samples: Samples, change: int) -> Samples:
    moved = np.zeros(len(samples), np.int32)
    moved[3] = change
    return replace(samples, n_masked=samples.n_masked + moved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda packed: [packed[0][1:], *packed[1:]], "packed 0 times"),
        (lambda packed: [*packed, packed[0][:1]], "packed 2 times"),
        (lambda packed: packed[:-1], "packed 0 times"),
    ],
)
def test_a_lost_or_doubled_sample_is_found(certified: Certified, change: Any, message: str) -> None:
    with pytest.raises(CertificateError, match=rf"every_sample_once\): .*row \d: {message}"):
        certified(sequences=change)


class _OnePositions(PackedDataset):
    def __getitem__(self, index: int) -> Any:
        item = super().__getitem__(index)
        return {**item, "position_ids": np.arange(len(item["input_ids"]))}


class _Cut(PackedDataset):
    def __getitem__(self, index: int) -> Any:
        return {name: values[:-1] for name, values in super().__getitem__(index).items()}


class _LabelsMoved(PackedDataset):
    def __getitem__(self, index: int) -> Any:
        item = super().__getitem__(index)
        return {**item, "labels": np.roll(item["labels"], -1)}


class _FirstTwice(PackedDataset):
    def __getitem__(self, index: int) -> Any:
        return super().__getitem__(0)


def _trained_padding(items: Any, pad_id: int) -> dict[str, torch.Tensor]:
    batch = collate(items, pad_id)
    return {**batch, "labels": torch.where(batch["position_ids"] == 0, pad_id, batch["labels"])}


def _narrow(items: Any, pad_id: int) -> dict[str, torch.Tensor]:
    return {name: tensor[:, :-3] for name, tensor in collate(items, pad_id).items()}


def _one_row(items: Any, pad_id: int) -> dict[str, torch.Tensor]:
    return collate(items[:1], pad_id)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"dataset": _OnePositions}, "position_ids of packed sequence"),
        ({"dataset": _Cut}, "input_ids of packed sequence"),
        ({"dataset": _LabelsMoved}, "labels of packed sequence"),
        ({"dataset": _FirstTwice}, "input_ids of packed sequence"),
        ({"collator": _trained_padding}, "labels of packed sequence"),
        ({"collator": _narrow}, "input_ids of packed sequence .* is nothing at"),
        ({"collator": _one_row}, "2 sequences went into a batch, 1 came out"),
    ],
)
def test_a_fault_in_the_batches_is_found(
    certified: Certified, parts: dict[str, Any], message: str
) -> None:
    with pytest.raises(CertificateError, match=rf"own_batches_hold_whole_samples\): .*{message}"):
        certified(**parts)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (lambda n: [*range(n), 0], "sequence 0 is drawn 2 times"),
        (lambda n: range(n - 1), r"sequence \d is drawn 0 times"),
    ],
)
def test_a_sampler_that_repeats_or_leaves_out_is_found(
    certified: Certified, order: Any, message: str
) -> None:
    class Given(SequentialSampler):
        def __iter__(self) -> Any:
            return iter(order(len(self.data_source)))

    with pytest.raises(CertificateError, match=f"every_sequence_drawn_once.*epoch 0: .*{message}"):
        certified(sampler=lambda dataset: BatchSampler(Given(dataset), 2, drop_last=False))


def _with_mask(items: Any, pad_id: int) -> dict[str, torch.Tensor]:
    """An attention mask makes transformers overlook the boundaries in the positions."""
    batch = collate(items, pad_id)
    return {**batch, "attention_mask": torch.ones_like(batch["input_ids"])}


def test_attention_across_samples_is_found(certified: Certified) -> None:
    with pytest.raises(CertificateError, match=r"attention_isolated\): samples in one sequence"):
        certified(collator=_with_mask)


@pytest.mark.parametrize(
    ("held", "bf16", "computed"),
    [
        (torch.float32, False, "float32"),
        (torch.float32, True, "bfloat16"),
        (torch.bfloat16, False, "bfloat16"),  # under DeepSpeed, which rounds the model itself
    ],
)
def test_isolation_is_measured_in_the_precision_of_training(
    certified: Certified, held: torch.dtype, bf16: bool, computed: str
) -> None:
    model = AutoModelForCausalLM.from_pretrained(STUDENT, dtype=held)
    (isolation,) = certified(model=model, bf16=bf16)["isolation"]
    assert isolation["dtype"] == computed
    assert isolation["max_leak"] == 0
    assert isolation["max_difference"] <= isolation["tolerance"] < isolation["max_logit"]
    with pytest.raises(CertificateError, match="attention_isolated"):
        certified(model=model, bf16=bf16, collator=_with_mask)


def test_gpt_oss_in_transformers_does_not_keep_packed_samples_apart(certified: Certified) -> None:
    """Its attention masks are made without the positions: training it packed must not start."""
    torch.manual_seed(0)
    shape = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "head_dim": 8}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 2}
    vocabulary = AutoConfig.from_pretrained(STUDENT).vocab_size
    model = GptOssForCausalLM(
        GptOssConfig(vocab_size=vocabulary, num_experts_per_tok=1, **shape, **heads)
    )
    with pytest.raises(CertificateError, match=r"attention_isolated.*attention eager, float32"):
        certified(model=model)


def test_logits_that_are_no_numbers_are_found(certified: Certified, tokenizer: Any) -> None:
    model = AutoModelForCausalLM.from_pretrained(STUDENT, dtype=torch.float32)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(CertificateError, match=r"attention_isolated.*nan"):
        certified(model=model)


def test_the_certified_batches_are_those_that_are_trained_on(
    config: SftConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def recorded(items: Any, pad_id: int) -> dict[str, torch.Tensor]:
        made.append(collate(items, pad_id))
        return made[-1]

    monkeypatch.setattr(sft, "collate", recorded)
    train(config, lambda line: None)
    per_epoch = (len(made) - 1) // (1 + config.epochs)
    assert len(made) == per_epoch * (1 + config.epochs) + 1  # one more for the isolation
    certified, trained = made[:per_epoch], made[per_epoch + 1 :]
    assert per_epoch > 1
    for mine, theirs in zip(certified, trained, strict=False):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    made_of = open_training_set(Path(config.training_set))
    dataset = PackedDataset(made_of.samples, made_of.sequences)
    pad_id = AutoTokenizer.from_pretrained(config.model_path).eos_token_id
    steps = pq.read_table(Path(config.output_dir) / STEPS).to_pylist()
    for number, theirs in enumerate(trained, 1):  # a batch is a step here
        drawn = [dataset[row["sequence"]] for row in steps if row["step"] == number]
        mine = collate(drawn, pad_id)
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_a_certificate_that_does_not_hold_stops_before_the_first_step(
    config: SftConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sft, "PackedDataset", _OnePositions)
    with pytest.raises(CertificateError, match=r"position_ids .* Nothing was trained"):
        train(config, lambda line: None)
    folder = partial_folder(Path(config.output_dir))
    assert not (folder / LOG).exists()
    assert not json.loads((folder / "certificate.json").read_text())["holds"]


@settings(max_examples=40, deadline=None)
@given(
    lengths=st.lists(st.integers(2, 30), min_size=2, max_size=12),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_single_change_of_a_batch_is_a_fault(lengths: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    sizes = np.asarray(lengths)
    n_prompt = rng.integers(1, sizes).astype(np.int32)
    samples = Samples(
        token_ids=rng.integers(0, 50, sizes.sum()).astype(np.int32),
        starts=np.concatenate([[0], np.cumsum(sizes)]),
        n_prompt=n_prompt,
        n_masked=n_prompt,
        n_response=np.full(len(sizes), -1, np.int32),
        weights=rng.uniform(0.5, 2, len(sizes)).astype(np.float32),
        files=(Path("rows.parquet"),),
        file_starts=np.zeros(1, np.int64),
    )
    sequences = pack(samples.lengths, 32)
    dataset = PackedDataset(samples, sequences, is_weighted=True)
    rows = range(len(sequences))
    batch = collate([dataset[row] for row in rows], pad_id=0)
    assert batch_fault(batch, rows, samples, sequences) == ""
    unweighted = {name: values for name, values in batch.items() if name != TOKEN_WEIGHTS}
    assert "the batch has no token_weights" in batch_fault(unweighted, rows, samples, sequences)
    name = str(rng.choice(["input_ids", "labels", "position_ids", TOKEN_WEIGHTS]))
    place = int(rng.integers(len(sequences)))
    width = len(dataset[place]["input_ids"]) if name == "input_ids" else batch[name].shape[1]
    batch[name][place, int(rng.integers(width))] += 1
    assert re.match(
        rf"rows.parquet, row \d+: {name} of packed sequence {place} is",
        batch_fault(batch, rows, samples, sequences),
    )


def test_ranks_must_draw_each_sequence_once_together() -> None:
    assert order_fault([[0, 2], [1, 3]], 4) == ""
    assert order_fault([[0, 2], [1, 0]], 3) == "packed sequence 0 is drawn 2 times in an epoch"
    assert order_fault([[0], [1]], 3) == "packed sequence 2 is drawn 0 times in an epoch"
    assert order_fault([[0, 5], [1]], 2) == "packed sequence 5 does not exist"


def test_ranks_that_see_different_sets_are_refused() -> None:
    check_same_set(["abc (2 samples, /here)", "abc (2 samples, /there)"])
    with pytest.raises(TrainingError, match=r"rank 0 has abc \(2.* rank 2 has def \(3 samples, /b"):
        check_same_set(["abc (2 samples, /a)", "abc (2 samples, /a)", "def (3 samples, /b)"])


def test_the_page_escapes_what_samples_say_and_shows_what_cannot_be_seen(
    certified: Certified,
) -> None:
    certificate = certified()
    hostile = "<script>alert(1)</script>\u202egnp.exe\x00"
    certificate["first_samples"][0]["runs"][1]["text"] = hostile
    certificate["first_samples"][0]["file"] = "<img src=x onerror=alert(1)>"
    page = render(certificate)
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;[U+202E]gnp.exe[U+0000]" in page
    assert "http" not in page.replace('http-equiv="Content-Security-Policy"', "")
    assert "masked, positions 0–" in page
    assert "trained, positions" in page
    assert visible("x" * 10_000).count("x") == 4_000
    assert "6,000 characters are not shown" in visible("x" * 10_000)


def test_labels_of_a_sample_are_masked_at_its_head_only(write_rows: Write, tokenizer: Any) -> None:
    (sample,) = load_samples(
        [write_rows(row(1))], student_format(tokenizer), system_prompt=SYSTEM,
        max_length=MAX_LENGTH, vocab_size=len(tokenizer),
    )  # fmt: skip
    assert np.count_nonzero(np.diff(sample.labels == NO_LOSS)) == 1


def test_two_ranks_certify_together(config: SftConfig, tmp_path: Path) -> None:
    """All ranks go on or none; a rank whose batches alone are broken stops the others too."""
    files, done = [], {}
    several = config.model_copy(update={"processes": 2, "micro_batch_size": 1})
    several = with_set(several, *sample_files(config))
    for name in ("faulty", "sound"):
        settings = {"epochs": 1, "output_dir": str(tmp_path / name)}
        files.append(str(tmp_path / f"{name}.json"))
        Path(files[-1]).write_text(several.model_copy(update=settings).model_dump_json())
        done[name] = tmp_path / name
    ended = subprocess.run(
        [
            sys.executable, "-W", "ignore", "-m", "torch.distributed.run", "--standalone",
            "--nproc_per_node", "2", str(RANKS), *files,
        ],
        capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)},
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("refused: the batch certificate") == 2
    assert ended.stdout.count("trained\n") == 2
    for folder, holds in ((partial_folder(done["faulty"]), False), (done["sound"], True)):
        certificate = json.loads((folder / "certificate.json").read_text())
        found = {check["name"]: check["found"] for check in certificate["checks"]}
        assert "on 2 rank(s)" in found["every_sequence_drawn_once"]
        assert certificate["holds"] == holds
        assert len(certificate["isolation"]) == (2 if holds else 1)
