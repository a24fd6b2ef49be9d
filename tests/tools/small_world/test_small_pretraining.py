"""The training loop's parts: labels cover the answer only, batches lose nothing, loss falls."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
import torch
from transformers import Qwen3Config, Qwen3ForCausalLM

from tools.small_world.pretraining import (
    IGNORED,
    Document,
    Pretraining,
    batches,
    collate,
    learning_rate,
    pretrain,
)


def _documents(n: int) -> list[Document]:
    rng = random.Random(0)
    return [Document([3] * rng.randint(1, 9), [5, 6] * rng.randint(1, 9)) for _ in range(n)]


def test_collate_learns_the_answer_only() -> None:
    ids, labels = collate([Document([1, 2], [7]), Document([1], [8, 9, 9])], pad_id=0)
    assert ids.tolist() == [[1, 2, 7, 0], [1, 8, 9, 9]]
    assert labels.tolist() == [[IGNORED, IGNORED, 7, IGNORED], [IGNORED, 8, 9, 9]]


def test_batches_hold_every_document_once_within_the_budget() -> None:
    documents = _documents(200)
    result = batches(documents, batch_tokens=120, seed=0)
    assert sorted(id(d) for batch in result for d in batch) == sorted(map(id, documents))
    assert all(len(batch) * max(map(len, batch)) <= 120 for batch in result)
    assert result == batches(documents, batch_tokens=120, seed=0)


def test_learning_rate_warms_up_peaks_and_ends_at_the_minimum() -> None:
    settings = Pretraining(n_documents=1, peak_learning_rate=1.0, final_learning_rate=0.1)
    rates = [learning_rate(step, 100, settings) for step in range(101)]
    assert rates[0] < rates[1] < rates[2] == pytest.approx(1.0)
    assert rates[100] == pytest.approx(0.1)
    assert all(a >= b for a, b in pairwise(rates[2:]))


def test_loss_falls() -> None:
    config = Qwen3Config(
        vocab_size=10, hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, num_key_value_heads=1, head_dim=8,
    )  # fmt: skip
    torch.manual_seed(0)
    model = Qwen3ForCausalLM(config)
    documents = _documents(300)
    ids, labels = collate(documents, pad_id=0)
    before = model(input_ids=ids, labels=labels).loss.item()
    pretrain(model, documents, 0, Pretraining(n_documents=300, batch_tokens=64), "test")
    assert model(input_ids=ids, labels=labels).loss.item() < 0.7 * before
