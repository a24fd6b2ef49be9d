"""vLLM: our sampling with the journal against bare `LLM.generate`, and two ways of scoring.

    python -m benchmarks.vllm_sampling [--model tiny_world/models/student] [--answers 256]

The same requests, seeds and sampling parameters in one process, alternating; both keep the raw
logprob of every token. The answers are then scored by the transformers engine and by vLLM's
`prompt_logprobs`. A ratio is taken within each round, and the median over the rounds printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from vllm.inputs import tokens_input

from dasd_assets.profile import PROJECT_ROOT
from resources.engines.journal import finish_requests
from resources.engines.protocol import (
    Completion,
    GenerationRequest,
    InferenceEngine,
    ScoringRequest,
)
from resources.engines.settings import TransformersSettings, VllmSettings
from resources.engines.transformers_engine import TransformersEngine
from resources.engines.vllm_engine import VllmEngine


def main() -> None:
    """Print tokens/s of each way, and the two ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="tiny_world/models/student")
    parser.add_argument("--answers", type=int, default=256)
    parser.add_argument("--samples", type=int, default=4, help="answers to one question")
    parser.add_argument("--max-tokens", type=int, default=200)
    parser.add_argument("--max-num-seqs", type=int, default=64)
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    settings = VllmSettings(dtype=arguments.dtype, max_num_seqs=arguments.max_num_seqs)
    engine = VllmEngine(arguments.model, settings)
    requests = _requests(engine, arguments.answers, arguments.samples, arguments.max_tokens)
    _bare(engine, requests)  # what is compiled or warmed up at the first use
    ours, bare = [], []
    for index in range(arguments.rounds):  # alternating: the machine's noise meets both
        if index % 2:
            bare.append(_bare(engine, requests))
        speed, completions = _ours(engine, requests)
        ours.append(speed)
        if not index % 2:
            bare.append(_bare(engine, requests))
    _report("our generate with the journal", ours, "LLM.generate", bare)

    asked = [
        ScoringRequest(c.key, r.prompt.token_ids, tuple(c.token_ids.tolist()))
        for r, c in zip(requests, completions, strict=True)
    ]
    plain = TransformersEngine(arguments.model, TransformersSettings(dtype=arguments.dtype))
    _score(engine, asked), _score(plain, asked)
    scored: dict[str, list[float]] = {"transformers": [], "vllm": []}
    for _ in range(arguments.rounds):
        scored["transformers"].append(_score(plain, asked))
        scored["vllm"].append(_score(engine, asked))
    _report(
        "transformers engine's score", scored["transformers"],
        "vLLM's prompt_logprobs", scored["vllm"],
    )  # fmt: skip
    engine.close()


def _report(name: str, ours: list[float], other_name: str, others: list[float]) -> None:
    for label, speeds in ((name, ours), (other_name, others)):
        print(f"{label}: {statistics.median(speeds):,.0f} tokens/s (median of {len(speeds)})")
    ratios = [one / other for one, other in zip(ours, others, strict=True)]
    each = ", ".join(f"{ratio:.3f}" for ratio in ratios)
    print(f"ratio: {statistics.median(ratios):.3f} (median of {each})\n")


def _requests(engine: VllmEngine, n: int, samples: int, cap: int) -> list[GenerationRequest]:
    drop = sorted((PROJECT_ROOT / "tiny_world" / "inbox").iterdir())[0]
    questions = [json.loads(line)["question"] for line in drop.read_text().splitlines()]
    prompts = [
        engine.render([{"role": "user", "content": question}])
        for question in questions[: n // samples]
    ]
    return [
        GenerationRequest(prompt, 1.0, 1.0, cap, index * samples + sample)
        for index, prompt in enumerate(prompts)
        for sample in range(samples)
    ]


def _ours(engine: VllmEngine, requests: list[GenerationRequest]) -> tuple[float, list[Completion]]:
    engine._copies[0].reset_prefix_cache()  # each round starts as the others do
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        finished = finish_requests(engine, requests, Path(folder) / "journal")
        keys = [request.key(engine.identity) for request in requests]
        found = {completion.key: completion for completion in finished.read(keys)}
        seconds = time.perf_counter() - start
    n_tokens = sum(len(completion.token_ids) for completion in found.values())
    return n_tokens / seconds, [found[key] for key in keys]


def _bare(engine: VllmEngine, requests: list[GenerationRequest]) -> float:
    llm: Any = engine._copies[0]
    llm.reset_prefix_cache()
    start = time.perf_counter()
    outputs = llm.generate(
        [tokens_input(list(request.prompt.token_ids)) for request in requests],
        [engine._sampling(request) for request in requests],
        use_tqdm=False,
    )
    seconds = time.perf_counter() - start
    return sum(len(output.outputs[0].token_ids) for output in outputs) / seconds


def _score(engine: InferenceEngine, asked: list[ScoringRequest]) -> float:
    start = time.perf_counter()
    n_tokens = sum(len(scores.logprobs) for scores in engine.score(asked))
    return n_tokens / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
