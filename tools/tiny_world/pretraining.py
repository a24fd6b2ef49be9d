"""A plain training loop for the two small models: padded batches of like length, cosine.

Many small steps teach these models more than few large ones.
Hidden matrices are trained by Muon, the rest (embeddings, norms) by AdamW: on
a CPU's budget of tokens Muon gets a small model to copy from its prompt about twice as soon.
"""

from __future__ import annotations

import math
import random
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerFast

from tools.tiny_world.corpus import MAX_ANSWER_TOKENS, asked
from tools.tiny_world.muon import Muon
from tools.tiny_world.problems import Problem
from tools.tiny_world.questions import DOMAINS

IGNORED = -100
REPORT_EVERY_STEPS = 100


@dataclass(frozen=True)
class Document:
    """Token ids of a prompt and its answer; only the answer is learned."""

    prompt: list[int]
    answer: list[int]

    def __len__(self) -> int:
        return len(self.prompt) + len(self.answer)


@dataclass(frozen=True)
class Pretraining:
    """Settings of a run.

    Attributes:
        n_documents: documents to draw; each is seen once.
        turn: domains in the order that they are read, over and over.
        batch_tokens: most positions in a batch, padding included.
        peak_learning_rate: AdamW's, after the warm-up.
        final_learning_rate: AdamW's, at the end of the cosine.
        muon_ratio: Muon's learning rate over AdamW's.
        warmup_share: share of the steps spent on warming up.
        weight_decay: AdamW's and Muon's.
        gradient_clip: largest gradient norm.
        seed: of the order of batches.
    """

    n_documents: int
    turn: tuple[str, ...] = DOMAINS
    batch_tokens: int = 512
    peak_learning_rate: float = 1.5e-3
    final_learning_rate: float = 3e-5
    muon_ratio: float = 7.0
    warmup_share: float = 0.03
    weight_decay: float = 0.01
    gradient_clip: float = 1.0
    seed: int = 0


def draw_documents(
    tokenizer: PreTrainedTokenizerFast,
    answer: Callable[[Problem, random.Random], str],
    problems: Sequence[Problem],
    seed: str,
) -> list[Document]:
    """The questions with freshly drawn answers, as tokens; answers cut at MAX_ANSWER_TOKENS."""
    rng = random.Random(f"answers/{seed}")
    prompts = [
        tokenizer.apply_chat_template(asked(p.question), tokenize=False, add_generation_prompt=True)
        for p in problems
    ]
    answers = [answer(problem, rng) for problem in problems]
    prompt_ids = tokenizer(prompts, add_special_tokens=False)["input_ids"]
    answer_ids = tokenizer(answers, add_special_tokens=False)["input_ids"]
    return [
        Document(prompt, ids[:MAX_ANSWER_TOKENS])
        for prompt, ids in zip(prompt_ids, answer_ids, strict=True)
    ]


def batches(documents: list[Document], batch_tokens: int, seed: int) -> list[list[Document]]:
    """Batches of documents of like length, in random order."""
    rng = random.Random(seed)
    shuffled = rng.sample(documents, len(documents))
    shuffled.sort(key=lambda document: len(document) // 8)
    result: list[list[Document]] = [[]]
    longest = 0
    for document in shuffled:
        longest = max(longest, len(document))
        if result[-1] and longest * (len(result[-1]) + 1) > batch_tokens:
            result.append([])
            longest = len(document)
        result[-1].append(document)
    rng.shuffle(result)
    return result


def collate(batch: list[Document], pad_id: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Input ids and labels, int64 [batch, longest]; padding on the right, prompts ignored."""
    longest = max(map(len, batch))
    ids = [d.prompt + d.answer + [pad_id] * (longest - len(d)) for d in batch]
    labels = [[IGNORED] * len(d.prompt) + d.answer + [IGNORED] * (longest - len(d)) for d in batch]
    return torch.tensor(ids), torch.tensor(labels)


def learning_rate(step: int, n_steps: int, settings: Pretraining) -> float:
    """Linear warm-up, then a cosine from the peak to the final learning rate."""
    n_warmup = max(1, round(n_steps * settings.warmup_share))
    if step < n_warmup:
        return settings.peak_learning_rate * (step + 1) / n_warmup
    progress = (step - n_warmup) / max(1, n_steps - n_warmup)
    swing = settings.peak_learning_rate - settings.final_learning_rate
    return settings.final_learning_rate + swing * 0.5 * (1 + math.cos(math.pi * progress))


def _optimizers(
    model: PreTrainedModel, settings: Pretraining
) -> list[tuple[torch.optim.Optimizer, float]]:
    """Muon and AdamW, each with its learning rate over the schedule's."""
    is_hidden = {
        id(p)
        for name, p in model.named_parameters()
        if p.ndim == 2 and not any(part in name for part in ("embed", "lm_head"))
    }
    hidden = [p for p in model.parameters() if id(p) in is_hidden]
    rest = [p for p in model.parameters() if id(p) not in is_hidden]
    decay = settings.weight_decay
    return [
        (Muon(hidden, lr=1.0, momentum=0.95, weight_decay=decay), settings.muon_ratio),
        (torch.optim.AdamW(rest, betas=(0.9, 0.98), weight_decay=decay, fused=True), 1.0),
    ]


def pretrain(
    model: PreTrainedModel,
    documents: list[Document],
    pad_id: int,
    settings: Pretraining,
    name: str,
) -> float:
    """Train in place over the documents once; returns tokens (padding included) per second.

    Right padding needs no attention mask: no real token looks at what follows it.
    """
    torch.manual_seed(settings.seed)
    todo = batches(documents, settings.batch_tokens, settings.seed)
    optimizers = _optimizers(model, settings)
    model.train()
    n_tokens, recent, start = 0, 0.0, time.monotonic()
    for step, batch in enumerate(todo):
        rate = learning_rate(step, len(todo), settings)
        for optimizer, ratio in optimizers:
            for group in optimizer.param_groups:
                group["lr"] = rate * ratio
        ids, labels = collate(batch, pad_id)
        loss = model(input_ids=ids, labels=labels).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), settings.gradient_clip)
        for optimizer, _ in optimizers:
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        n_tokens += ids.numel()
        recent += loss.item() / REPORT_EVERY_STEPS
        if (step + 1) % REPORT_EVERY_STEPS == 0:
            speed = n_tokens / (time.monotonic() - start)
            print(
                f"{name}: step {step + 1}/{len(todo)} loss {recent:.4f} {speed:,.0f} tokens/s",
                file=sys.stderr,
                flush=True,
            )
            recent = 0.0
    model.eval()
    return n_tokens / (time.monotonic() - start)
