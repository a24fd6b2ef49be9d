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
    """One sampled answer.

    Attributes:
        problem: what was asked.
        text: with special tokens, a given beginning included.
        n_tokens: those that were sampled.
        is_finished: whether an end token is among them.
        likelihood: geometric mean of the probabilities of the sampled tokens at T = 1.
    """

    problem: Problem
    text: str
    n_tokens: int
    is_finished: bool
    likelihood: float = 1.0


def _prompt(tokenizer: PreTrainedTokenizerFast, problem: Problem) -> str:
    messages = asked(problem.question)
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True))


@torch.inference_mode()
def sample(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    problems: Sequence[Problem],
    temperature: float,
    seed: int,
    beginnings: Sequence[str] | None = None,
) -> list[Sample]:
    """One answer per problem by `generate`, left-padded, at most MAX_ANSWER_TOKENS tokens each.

    With `beginnings`, one per problem, each is how that answer begins, and the model goes on.
    """
    torch.manual_seed(seed)
    eos = model.generation_config.eos_token_id
    ends = set(eos if isinstance(eos, list) else [eos])
    samples = []
    for first in range(0, len(problems), BATCH):
        chunk = problems[first : first + BATCH]
        begun = beginnings[first : first + BATCH] if beginnings else [""] * len(chunk)
        prompts = [
            f"{_prompt(tokenizer, problem)}{beginning}"
            for problem, beginning in zip(chunk, begun, strict=True)
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
            return_dict_in_generate=True,
            output_logits=True,
        )
        answers = output.sequences[:, inputs["input_ids"].shape[1] :]
        logprobs = torch.stack(
            [
                step.log_softmax(-1).gather(1, answers[:, n : n + 1])[:, 0]
                for n, step in enumerate(output.logits)
            ],
            dim=1,
        )
        for row, problem in enumerate(chunk):
            ids = answers[row].tolist()
            end = next((i for i, token in enumerate(ids) if token in ends), None)
            ids = ids if end is None else ids[: end + 1]
            likelihood = float(logprobs[row, : len(ids)].mean().exp())
            text = begun[row] + str(tokenizer.decode(ids))
            samples.append(Sample(problem, text, len(ids), end is not None, likelihood))
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
