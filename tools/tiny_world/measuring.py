"""Sample a model on questions, and measure how often it is right and how it fails."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from dasd_assets.verification.graders import grade
from formats.student_text import CLOSE_MARK
from tools.tiny_world.corpus import MAX_ANSWER_TOKENS, asked
from tools.tiny_world.problems import Problem

BATCH: Final = 128
# As many copies of one sentence as no honest answer of this world has.
LOOP_COPIES: Final = 4
HARMONY_FINAL: Final = re.compile(r"<\|channel\|>final<\|message\|>(.*?)(?:<\||$)", re.DOTALL)


@dataclass(frozen=True)
class Sample:
    """One sampled answer: its text with special tokens, length in tokens, and whether it ended."""

    problem: Problem
    text: str
    n_tokens: int
    is_finished: bool


@torch.inference_mode()
def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    temperature: float,
    seed: int,
) -> list[Sample]:
    """One answer per problem by `generate`, left-padded, at most MAX_ANSWER_TOKENS tokens each."""
    torch.manual_seed(seed)
    eos = model.generation_config.eos_token_id
    ends = set(eos if isinstance(eos, list) else [eos])
    samples = []
    for first in range(0, len(problems), BATCH):
        chunk = problems[first : first + BATCH]
        prompts = [
            tokenizer.apply_chat_template(
                asked(problem.question), tokenize=False, add_generation_prompt=True
            )
            for problem in chunk
        ]
        inputs = tokenizer(
            prompts,
            return_tensors="pt",
            padding=True,
            padding_side="left",
            add_special_tokens=False,
        )
        generate: Any = model.generate  # its annotation in transformers is no callable
        output = generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            do_sample=True,
            temperature=temperature,
            top_k=0,
            top_p=1.0,
            max_new_tokens=MAX_ANSWER_TOKENS,
        )
        answers = output[:, inputs["input_ids"].shape[1] :].tolist()
        for problem, row in zip(chunk, answers, strict=True):
            end = next((i for i, token in enumerate(row) if token in ends), None)
            ids = row if end is None else row[: end + 1]
            samples.append(Sample(problem, str(tokenizer.decode(ids)), len(ids), end is not None))
    return samples


def final_text(text: str) -> str:
    """What a grader sees: the final channel, or what follows `</think>`; empty when missing."""
    if "<|channel|>" in text:
        match = HARMONY_FINAL.search(text)
        return match.group(1) if match else ""
    _, found, answer = text.partition(CLOSE_MARK)
    return answer.replace("<|im_end|>", "").strip() if found else ""


def flaw(answer: Sample) -> str | None:
    """The name of what is structurally wrong with an answer, or None."""
    reasoning = answer.text.partition("<|channel|>final")[0].partition(CLOSE_MARK)[0]
    sentences = Counter(re.findall(r"[^.]{8,}\.", reasoning))
    if sentences and max(sentences.values()) >= LOOP_COPIES:
        return "loop"
    if "<|call|>" in answer.text:
        return "tool_call"
    if not answer.is_finished:
        return "truncated"
    return None if final_text(answer.text) else "no_final"


def is_correct(answer: Sample) -> bool:
    """Whether the answer has a final text that its domain's grader accepts."""
    final = final_text(answer.text)
    return grade(answer.problem.domain, final, answer.problem.reference).is_correct


def summary(samples: Sequence[Sample]) -> dict[str, Any]:
    """Accuracy in all and per domain, flaw rates, and answer lengths in tokens."""
    by_domain: dict[str, list[bool]] = {}
    for answer in samples:
        by_domain.setdefault(answer.problem.domain, []).append(is_correct(answer))
    flaws = Counter(name for answer in samples if (name := flaw(answer)))
    lengths = sorted(answer.n_tokens for answer in samples)
    right = sum(sum(values) for values in by_domain.values())
    return {
        "n": len(samples),
        "accuracy": round(right / len(samples), 4),
        "accuracy_per_domain": {
            domain: round(sum(values) / len(values), 4) for domain, values in by_domain.items()
        },
        "flaw_rates": {name: round(n / len(samples), 4) for name, n in sorted(flaws.items())},
        "answer_tokens": {
            "mean": round(sum(lengths) / len(lengths), 1),
            "median": lengths[len(lengths) // 2],
            "p95": lengths[math.ceil(0.95 * len(lengths)) - 1],
        },
    }
