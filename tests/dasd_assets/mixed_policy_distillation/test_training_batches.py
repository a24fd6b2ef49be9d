"""What the third stage trains on: the mask covers the student's prefix, and nothing else."""

from __future__ import annotations

from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from support.scripted_engine import encode, tokenizer, written
from support.small_lake import filled

from dasd_assets.mixed_policy_distillation.prefix import teacher_prefix
from dasd_assets.mixed_policy_distillation.write_sample import write_mixed_sample
from dasd_assets.profile import load_profile
from formats.student_text import response_parts
from formats.student_tokens import encode_prompt
from resources.lake.lake import Lake
from training.dataset import PackedDataset, collate
from training.packing import pack
from training.rows import load_samples
from training.samples import NO_LOSS

FINAL = "<|end|><|start|>assistant<|channel|>final<|message|>"
SYSTEM_PROMPT = "You are a helpful assistant."
MAX_LENGTH = 256
CUTS = [
    ("<think>\nWe add the ones, na", "", f"ïvely.{FINAL}It is 3.<|return|>"),
    ("<think>\nWe add the ones: 木", "", f"木 is wood.{FINAL}It is 4.<|return|>"),
    ("<think>\nOne.\n\n", "", f"Two.{FINAL}It is 5.<|return|>"),
    ("<think>\nOne.\n</thi", "nk>", "It is 6.<|return|>"),
    ("<think>\nOne and two.\n</think>\n\nIt is ", "", "7, as far as I can see.<|return|>"),
    ("<think>\nA <|end|> b", "", f" c.{FINAL}It is 8.<|return|>"),
]
"""What is kept and discarded of a rollout, and what the teacher writes behind the cut."""

STUDENT, TEACHER = written("student"), written("teacher")


def mixed_sample(folder: Path) -> Path:
    rows = []
    for i, (kept, discarded, wire) in enumerate(CUTS):
        prefix = teacher_prefix(kept, discarded, STUDENT.format, TEACHER.format)
        token_ids = encode("teacher", wire)
        rows.append(
            {
                "continuation_id": f"c{i}", "question_id": f"m{i}", "domain": "math",
                "question": f"What is {i} + 3?", "finish_reason": "stop",
                "token_ids": token_ids, "logprobs": [-1.0] * len(token_ids),
                "prefix_text": prefix.student_text,
                "cut_part": prefix.cut_part, "text": wire,
            }
        )  # fmt: skip
    answers = [
        {"response_id": f"r{i}", "question": f"What is {i} + 1?",
         "response_text": f"<think>\nÖ: {i}.\n</think>\n\nIt is {i + 1}.", "n_student_tokens": -1}
        for i in range(8)
    ]  # fmt: skip
    for row in answers:
        ids = STUDENT.encode(*response_parts(str(row["response_text"])))
        row["n_student_tokens"] = len(ids)
    lake = Lake(root=str(folder))
    lake.write(
        "teacher_continuations", filled("teacher_continuations", *rows), {"question_shard": "a"}
    )
    lake.write("divergence_sample", filled("divergence_sample", *answers), {"temperature": "low"})
    sample = write_mixed_sample(
        lake, STUDENT, TEACHER, load_profile("tiny").response_filtering, SYSTEM_PROMPT,
        n_off_policy=5, distinct_questions=True, seed=0,
    )  # fmt: skip
    assert sample.n_mixed == len(CUTS), lake.read("rejected_continuations").to_pylist()
    return sample.written.path


def batches(file: Path, mask_student_prefix: bool) -> list[dict[str, torch.Tensor]]:
    """The batches of one epoch as the training program makes them."""
    samples = load_samples(
        [file], STUDENT, system_prompt=SYSTEM_PROMPT, max_length=MAX_LENGTH,
        vocab_size=len(tokenizer("student")), mask_student_prefix=mask_student_prefix,
    )  # fmt: skip
    dataset = PackedDataset(samples, pack(samples.lengths, MAX_LENGTH))
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=2, collate_fn=partial(collate, pad_id=tokenizer("student").eos_token_id)
    )
    return list(loader)


def trained_spans(batch: dict[str, torch.Tensor]) -> dict[str, tuple[str, str]]:
    """Question -> the response's text without loss, and with loss, of every sample of a batch."""
    found = {}
    for ids, labels, positions in zip(*(batch[name].numpy() for name in batch), strict=True):
        starts = [*np.flatnonzero(positions == 0).tolist(), len(ids)]
        for start, end in pairwise(starts):
            text = tokenizer("student").decode(ids[start:end])
            prompt, mark, _ = text.partition("<|im_start|>assistant\n")
            if not mark:
                continue  # padding
            question = prompt.partition("<|im_start|>user\n")[2].partition("<|im_end|>")[0]
            first = start + len(encode_prompt(tokenizer("student"), question, SYSTEM_PROMPT))
            assert (labels[start:first] == NO_LOSS).all()
            trained = labels[first:end] != NO_LOSS
            n_masked = int(np.argmax(trained))
            assert trained[n_masked:].all()
            assert (labels[first:end][trained] == ids[first:end][trained]).all()
            parts = (ids[first : first + n_masked], ids[first + n_masked : end])
            found[question] = tuple(tokenizer("student").decode(part) for part in parts)
    return found


@pytest.mark.parametrize("mask_student_prefix", [False, True])
def test_the_mask_covers_the_students_prefix_and_nothing_else(
    tmp_path: Path, mask_student_prefix: bool
) -> None:
    file = mixed_sample(tmp_path)
    rows: list[dict[str, Any]] = pa.table(pq.read_table(file)).to_pylist()
    found: dict[str, tuple[str, str]] = {}
    packed = batches(file, mask_student_prefix)
    for batch in packed:
        found |= trained_spans(batch)
    assert len(found) == len(rows) == len(CUTS) + 5
    assert any((batch["position_ids"] == 0).sum() > len(batch["input_ids"]) for batch in packed)
    for row in rows:
        masked, trained = found[row["question"]]
        prefix = row["response_text"].encode()[: row["student_prefix_bytes"]].decode()
        assert masked + trained == row["response_text"] + "<|im_end|>"
        assert bool(prefix) == (row["policy"] == "mixed_policy")
        assert masked == (prefix if mask_student_prefix else "")
