"""Tokens and labels: loss on the answer only, nothing cut, samples kept apart."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.training_rows import STUDENT, row
from transformers import AutoModelForCausalLM, AutoTokenizer

from formats.model_format import student_format
from training.dataset import PackedDataset, collate
from training.packing import pack
from training.rows import load_samples
from training.samples import NO_LOSS, Samples


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(STUDENT)


def load(tokenizer: Any, file: Path, **changes: Any) -> Samples:
    settings = {"max_length": 256, "vocab_size": len(tokenizer), **changes}
    return load_samples([file], student_format(tokenizer), system_prompt="Be brief.", **settings)


def test_loss_is_on_the_answer_and_its_end_token_only(
    tokenizer: Any, write_rows: Callable[..., Path]
) -> None:
    (sample,) = load(tokenizer, write_rows(row(4)))
    trained = sample.labels != NO_LOSS
    assert tokenizer.decode(sample.input_ids[trained]) == row(4)["response_text"] + "<|im_end|>"
    masked = tokenizer.decode(sample.input_ids[~trained])
    assert masked.endswith("<|im_start|>assistant\n")
    assert "What is 4 + 1?" in masked
    assert (sample.labels[trained] == sample.input_ids[trained]).all()


def test_the_students_prefix_is_masked_only_if_asked(
    tokenizer: Any, write_rows: Callable[..., Path]
) -> None:
    prefix = "<think>\nOnes:"
    file = write_rows(row(4, student_prefix_bytes=len(prefix)))
    (trained,), (masked,) = load(tokenizer, file), load(tokenizer, file, mask_student_prefix=True)
    lost = (trained.labels != NO_LOSS) & (masked.labels == NO_LOSS)
    assert tokenizer.decode(trained.input_ids[lost]) == prefix


def test_packed_samples_do_not_see_each_other(
    tokenizer: Any, write_rows: Callable[..., Path]
) -> None:
    samples = load(tokenizer, write_rows(*(row(number) for number in range(7))))
    sequences = pack(samples.lengths, 256)
    assert max(map(len, sequences)) > 1
    dataset = PackedDataset(samples, sequences)
    batch = collate([dataset[i] for i in range(len(dataset))], pad_id=tokenizer.eos_token_id)
    model = AutoModelForCausalLM.from_pretrained(STUDENT, dtype=torch.float32)
    model.config.use_cache = False
    with torch.inference_mode():
        packed = model(input_ids=batch["input_ids"], position_ids=batch["position_ids"]).logits
        for place, sequence in enumerate(sequences):
            start = 0
            for index in sequence:
                ids = torch.from_numpy(samples[index].input_ids.astype(np.int64))[None]
                alone = model(input_ids=ids).logits[0]
                mine = packed[place, start : start + len(samples[index])]
                torch.testing.assert_close(mine, alone, atol=1e-4, rtol=0)
                start += len(samples[index])


def test_padding_takes_no_loss(tokenizer: Any, write_rows: Callable[..., Path]) -> None:
    samples = load(tokenizer, write_rows(row(1), row(2), row(33_333)))
    dataset = PackedDataset(samples, [np.array([0, 1]), np.array([2])])
    batch = collate([dataset[0], dataset[1]], pad_id=0)
    n_second = len(samples[2])
    assert (batch["labels"][1, n_second:] == NO_LOSS).all()
    assert (batch["position_ids"][1, n_second:] == 0).all()
    n_trained = sum((sample.labels != NO_LOSS).sum() for sample in samples)
    assert (batch["labels"] != NO_LOSS).sum() == n_trained
