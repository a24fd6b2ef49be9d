"""Weighted samples: the loss by hand, weight 2 as twice the sample, and weight 1 as no weight."""

from __future__ import annotations

import json
import math
import os
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from safetensors.numpy import load_file
from support.training_rows import STUDENT, Row, row, with_set
from transformers import AutoModelForCausalLM, AutoTokenizer

from formats.checkpoint_folder import CERTIFICATE, LOG
from formats.model_format import student_format
from resources.compute.training_launcher import launcher
from training import weighted_loss
from training.certificate_page import render
from training.dataset import TOKEN_WEIGHTS, PackedDataset, collate
from training.errors import TrainingError
from training.packing import pack
from training.rows import load_samples
from training.samples import NO_LOSS, Samples
from training.sft import SftConfig, train
from training.weighted_loss import weigh_losses

pytestmark = pytest.mark.slow

Write = Callable[..., Path]
WEIGHTS = (0.25, 2.0, 0.75, 1.5, 0.5)


def student() -> Any:
    model = AutoModelForCausalLM.from_pretrained(STUDENT, dtype=torch.float32)
    model.config.use_cache = False
    return model


def loaded(file: Path) -> Samples:
    tokenizer = AutoTokenizer.from_pretrained(STUDENT)
    return load_samples(
        [file],
        student_format(tokenizer),
        system_prompt="Be brief.",
        max_length=128,
        vocab_size=len(tokenizer),
    )


def batch_of(samples: Samples) -> dict[str, torch.Tensor]:
    sequences = pack(samples.lengths, 128)
    assert 1 < len(sequences) < len(samples), "neither packing nor padding would be tested"
    dataset = PackedDataset(samples, sequences, is_weighted=True)
    return collate([dataset[i] for i in range(len(sequences))], pad_id=0)


def weighted_rows(*weights: float) -> list[Row]:
    return [row(7**number, weight=weight) for number, weight in enumerate(weights)]


def test_the_loss_is_that_of_a_calculation_by_hand(
    write_rows: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(weighted_loss, "TOKENS_AT_ONCE", 7)
    samples = loaded(write_rows(*weighted_rows(*WEIGHTS)))
    batch = batch_of(samples)
    model = student()
    weigh_losses(model, nullcontext)
    total = weighted_loss._trained_weight(batch)
    with torch.no_grad():
        loss = float(model(**batch, num_items_in_batch=total).loss)

    by_hand, weight_by_hand = 0.0, 0.0
    for sample, weight in zip(samples, WEIGHTS, strict=True):
        ids = torch.from_numpy(sample.input_ids.astype(np.int64))
        with torch.no_grad():
            logprobs = model(input_ids=ids[None]).logits[0].double().log_softmax(dim=-1)
        for place in np.flatnonzero(sample.labels != NO_LOSS).tolist():
            by_hand -= weight * float(logprobs[place - 1, ids[place]])
            weight_by_hand += weight
    assert loss == pytest.approx(by_hand / weight_by_hand, rel=1e-5)
    assert float(total) == pytest.approx(weight_by_hand)


def test_weights_of_one_give_the_models_own_loss_and_gradients(write_rows: Write) -> None:
    batch = batch_of(loaded(write_rows(*weighted_rows(1, 1, 1, 1, 1))))
    weights = batch.pop(TOKEN_WEIGHTS)
    total = (batch["labels"] != NO_LOSS).sum()
    own, weighed = student(), student()
    weigh_losses(weighed, nullcontext)
    one = own(**batch, num_items_in_batch=total).loss
    other = weighed(**batch, token_weights=weights, num_items_in_batch=total).loss
    one.backward()
    other.backward()
    torch.testing.assert_close(one, other, rtol=1e-6, atol=0)
    for a, b in zip(own.parameters(), weighed.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("fault", ["logits", "router"])
def test_a_model_whose_loss_is_not_its_heads_is_refused(fault: str) -> None:
    model = student()
    if fault == "router":
        model.config.output_router_logits = True
    else:
        forward = model.forward

        def capped(**inputs: Any) -> Any:
            output = forward(**inputs)
            output.logits = 5 * torch.tanh(output.logits / 5)
            return output

        model.forward = capped
    with pytest.raises(TrainingError, match=r"samples are weighted, but .*\{kind: none\}"):
        weigh_losses(model, nullcontext)


@pytest.fixture
def trained(config: SftConfig, tmp_path: Path) -> Callable[..., tuple[list[Any], dict[str, Any]]]:
    """Trains on rows; the losses and gradient norms of its steps, and the weights."""
    torch.set_num_threads(1)

    def run(
        name: str, rows: list[Row], *, in_children: bool = False, **changes: Any
    ) -> tuple[list[Any], dict[str, Any]]:
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
        output = {"output_dir": str(tmp_path / name)}
        own = SftConfig.model_validate({**config.model_dump(), **output, **changes})
        own = with_set(own, tmp_path / f"{name}.parquet")
        if in_children:
            file = tmp_path / f"{name}.json"
            file.write_text(own.model_dump_json(), encoding="utf-8")
            command = [*launcher(own.processes, 0, 0), "--config", str(file)]
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
            result = subprocess.run(
                command, env=environment, capture_output=True, text=True, check=False
            )
            assert result.returncode == 0, result.stderr[-4000:]
        else:
            train(own, lambda line: None)
        lines = (tmp_path / name / LOG).read_text(encoding="utf-8").splitlines()
        steps = [(step["loss"], step["grad_norm"]) for step in map(json.loads, lines)]
        return steps, dict(load_file(tmp_path / name / "model.safetensors"))

    return run


def apart(one: dict[str, Any], other: dict[str, Any]) -> float:
    return max(float(np.abs(one[name] - other[name]).max()) for name in one)


def test_weight_two_is_the_sample_twice(trained: Callable[..., Any]) -> None:
    odd = "<think>\nVexing zebras.\n</think>\n\nNo idea."
    rows = [row(0, weight=1.0, response_text=odd), row(1, weight=1.0), row(2, weight=1.0)]
    whole = {"global_batch_size": 1, "micro_batch_size": 1, "max_length": 512}
    twice, by_twice = trained("twice", [rows[0], *rows], **whole)
    weighed, by_weight = trained("weighed", [{**rows[0], "weight": 2.0}, *rows[1:]], **whole)
    once, by_once = trained("once", rows, **whole)
    np.testing.assert_allclose(weighed, twice, rtol=1e-3)
    assert weighed[0][0] == pytest.approx(twice[0][0], rel=1e-6)
    assert weighed[0][0] != pytest.approx(once[0][0], rel=1e-3)
    assert apart(by_weight, by_twice) < 1e-4 < apart(by_weight, by_once)


def test_micro_batches_and_ranks_change_nothing(trained: Callable[..., Any]) -> None:
    """The divisor is of the whole global batch: a rank with light samples counts for less."""
    rows = [row(number, weight=0.25 if number % 3 else 2.5) for number in range(24)]
    batch = {"global_batch_size": 4, "max_length": 128}
    one, by_one = trained("one", rows, micro_batch_size=4, **batch)
    several, by_several = trained("several", rows, micro_batch_size=1, **batch)
    ranks, by_ranks = trained(
        "ranks", rows, micro_batch_size=1, processes=2, in_children=True, **batch
    )
    assert len(one) > 4
    np.testing.assert_allclose(several, one, rtol=1e-3)
    np.testing.assert_allclose(ranks, one, rtol=1e-3)
    assert apart(by_several, by_one) < 1e-4
    assert apart(by_ranks, by_one) < 1e-4


def test_weights_of_one_are_no_weights_to_the_bit(trained: Callable[..., Any]) -> None:
    rows = [row(number) for number in range(8)]
    steps, without = trained("without", rows)
    same_steps, ones = trained("ones", [{**one, "weight": 1.0} for one in rows])
    assert steps == same_steps
    assert all((without[name] == ones[name]).all() for name in without)


def test_the_certificate_shows_the_weights(trained: Callable[..., Any], tmp_path: Path) -> None:
    rows = [row(number, weight=weight) for number, weight in enumerate((0.5, 2.0, 0.5))]
    trained("shown", rows, epochs=1)
    certificate = json.loads((tmp_path / "shown" / CERTIFICATE).read_text(encoding="utf-8"))
    assert certificate["holds"]
    assert certificate["weights"] == {"min": 0.5, "mean": 1.0, "max": 2.0}
    by_row = {sample["row"]: sample["weight"] for sample in certificate["first_samples"]}
    assert by_row == {0: 0.5, 1: 2.0, 2: 0.5}
    page = render(certificate)
    assert "0.5 / 1 / 2" in page
    assert "trained, weight 2;" in page


@pytest.mark.parametrize("weight", [0.0, -1.0, math.nan, math.inf, None])
def test_a_weight_that_is_none_is_refused_by_row(write_rows: Write, weight: float | None) -> None:
    file = write_rows(row(0, weight=1.0), row(1, weight=weight))
    with pytest.raises(ValueError, match=r"row 1: the weight is .* finite number above 0") as found:
        loaded(file)
    assert str(file) in str(found.value)
