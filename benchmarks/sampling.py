"""Sampling: our decode loop against `model.generate` on the same questions, in one run.

    python -m benchmarks.sampling [--model tiny_world/models/teacher] [--answers 256]

Both sample at temperature 1 with the same cap; tokens after an answer's end are not counted. Ours
also keeps the raw logprob of every token, which `generate` does not.
"""

from __future__ import annotations

import argparse
import json
import time

import torch

from dasd_assets.profile import PROJECT_ROOT
from resources.engines.protocol import GenerationRequest, Prompt
from resources.engines.settings import TransformersSettings
from resources.engines.transformers_engine import TransformersEngine


def main() -> None:
    """Print tokens/s of both and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny_world/models/teacher")
    parser.add_argument("--answers", type=int, default=256)
    parser.add_argument("--max-tokens", type=int, default=320)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    engine = TransformersEngine(
        arguments.model,
        TransformersSettings(dtype="float32", device="cpu", batch_size=arguments.answers),
    )
    drop = sorted((PROJECT_ROOT / "tiny_world" / "inbox").iterdir())[0]
    questions = [json.loads(line)["question"] for line in drop.read_text().splitlines()]
    prompts = [
        engine.render(
            [
                {"role": "system", "content": "You are a helpful assistant."},
                {"role": "user", "content": question},
            ]
        )
        for question in questions[: arguments.answers]
    ]
    ours, plain = [], []
    for seed in range(arguments.rounds):  # interleaved: the machine's noise meets both
        ours.append(_ours(engine, prompts, arguments.max_tokens, seed))
        plain.append(_plain(engine, prompts, arguments.max_tokens, seed))
    best_ours, best_plain = max(ours), max(plain)
    print(f"decode loop with raw logprobs: {best_ours:>9,.0f} tokens/s")
    print(f"model.generate:                {best_plain:>9,.0f} tokens/s")
    print(f"ratio (best of {arguments.rounds} rounds each): {best_ours / best_plain:.2f}")


def _ours(engine: TransformersEngine, prompts: list[Prompt], cap: int, seed: int) -> float:
    requests = [
        GenerationRequest(prompt, 1.0, 1.0, cap, seed * len(prompts) + index)
        for index, prompt in enumerate(prompts)
    ]
    start = time.perf_counter()
    n_tokens = sum(len(completion.token_ids) for completion in engine.generate(requests))
    return n_tokens / (time.perf_counter() - start)


def _plain(engine: TransformersEngine, prompts: list[Prompt], cap: int, seed: int) -> float:
    torch.manual_seed(seed)
    rows = [list(prompt.token_ids) for prompt in prompts]
    pad, width = engine._pad_id, max(map(len, rows))
    ids = torch.tensor([[pad] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    start = time.perf_counter()
    output = engine._model.generate(
        ids, attention_mask=mask, do_sample=True, temperature=1.0, top_p=1.0, top_k=0,
        max_new_tokens=cap, pad_token_id=pad,
    )[:, width:]  # fmt: skip
    seconds = time.perf_counter() - start
    stops = torch.isin(output, torch.tensor(sorted(engine._stop_ids)))
    ended = stops.int().argmax(1) + 1
    lengths = torch.where(stops.any(1), ended, output.shape[1])
    return int(lengths.sum()) / seconds


if __name__ == "__main__":
    main()
