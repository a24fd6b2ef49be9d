"""vLLM in this process."""

from __future__ import annotations

import gc
import itertools
import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt
import torch

from resources.compute.gpus import usable_gpus
from resources.engines.end_tokens import end_token_ids
from resources.engines.local_tokenizer import LocalTokenizerEngine
from resources.engines.model_folder import inspect_model
from resources.engines.prompts import (
    check_generation,
    check_scoring,
)
from resources.engines.protocol import (
    NO_TOP,
    RAW_LOGPROBS,
    Completion,
    EngineUnavailableError,
    GenerationRequest,
    ModelIdentity,
    Progress,
    ProgressCallback,
    ScoringRequest,
    TokenScores,
    TopLogprobs,
)
from resources.engines.settings import VllmSettings
from resources.engines.under_way import Count
from resources.engines.vllm_arguments import NOT_INSTALLED, vllm_arguments
from resources.engines.vllm_copies import gpu_shares, only_gpus, run_tasks

try:
    import vllm
    from vllm.inputs import tokens_input
    from vllm.sampling_params import RequestOutputKind
except ImportError as error:
    raise EngineUnavailableError(f"{NOT_INSTALLED} ({error})") from error

TOKENS_PER_PIECE = 32
"""Tokens of an answer that vLLM gives out together, after its first one."""

WAITING_PER_SEQUENCE = 2
"""Requests handed to vLLM per sequence that it runs at once: it never waits for the next one, and
memory does not grow with the number of requests."""


class VllmEngine(LocalTokenizerEngine):
    """See `resources.engines.protocol.InferenceEngine`.

    One at a time in a process: where vLLM runs in the process itself (on CPU), closing an engine
    ends the process groups of all.

    Scoring asks for vLLM's `prompt_logprobs`, which hold float32 logits of the whole vocabulary
    for each chunk of `max_num_batched_tokens`; the transformers engine needs less memory.
    """

    def __init__(self, path: str, settings: VllmSettings, revision: str | None = None) -> None:
        """Check and load a model.

        Args:
            path: folder in Hugging Face layout or id of a model in the local hub cache.

        Raises:
            ModelFolderError: the folder is missing, incomplete or inconsistent.
        """
        folder = inspect_model(path, revision)
        self._context = settings.max_model_len or folder.max_position_embeddings
        arguments = vllm_arguments(folder.path, self._context, settings)
        if vllm.platforms.current_platform.is_cpu():
            # A second process would have to be spawned, and every program guarded against that.
            os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        shares = gpu_shares(usable_gpus(), settings.data_parallel_size, settings.gpus_per_copy)
        set_num_threads = torch.set_num_threads
        self._copies: list[Any] = []
        for share in shares:
            with only_gpus(share):
                self._copies.append(vllm.LLM(**arguments))
        # vLLM's CPU worker replaces this function by one that does nothing, in the whole process.
        torch.set_num_threads = set_num_threads
        self._tokenizer = self._copies[0].get_tokenizer()
        generation = self._copies[0].llm_engine.model_config.try_get_generation_config()
        self._stop_ids = end_token_ids(generation.get("eos_token_id"), self._tokenizer)
        self._under_way = WAITING_PER_SEQUENCE * settings.max_num_seqs
        self._request_ids = itertools.count()
        self._identity = ModelIdentity(
            model=folder.name,
            revision=folder.content_hash[:16],
            engine="vllm",
            engine_version=vllm.__version__,
            logprobs_mode=RAW_LOGPROBS,
        )

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[Completion]:
        """Sample every request; each is yielded in the step in which it ends."""
        check_generation(self, requests)
        tasks = (
            ([*request.prompt.token_ids, *request.prefix_token_ids], self._sampling(request))
            for request in requests
        )
        count = Count(len(requests), on_progress)
        for index, outputs in self._run(tasks, count.under_way):
            pieces = [output.outputs[0] for output in outputs]
            token_ids = [token for piece in pieces for token in piece.token_ids]
            count.finished(len(token_ids))
            logprobs, top = _listed(
                [piece.logprobs for piece in pieces if piece.logprobs], requests[index].top_logprobs
            )
            yield Completion(
                key=requests[index].key(self._identity),
                token_ids=np.asarray(token_ids, np.int32),
                logprobs=logprobs,
                finish_reason=_finish_reason(pieces[-1].finish_reason),
                top=top,
            )

    def score(
        self, requests: Sequence[ScoringRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[TokenScores]:
        """Score every request in one pass over its tokens.

        vLLM always samples a token, so it is made to sample the last of the given ones; its raw
        logprob and rank do not know of that. A sequence can thus fill the context.
        """
        check_scoring(requests, self._context)
        tasks = (
            (
                [*request.prompt_token_ids, *request.token_ids[:-1]],
                _scoring_parameters(request.token_ids[-1]),
            )
            for request in requests
        )
        started, scored = time.monotonic(), 0
        for done, (index, (output,)) in enumerate(self._run(tasks), start=1):
            request = requests[index]
            given, emitted = output.prompt_logprobs, output.outputs[0].logprobs
            n_given = len(request.token_ids) - 1
            found = [*_last(given.token_ids, n_given), *emitted.token_ids]
            if found != list(request.token_ids):
                raise RuntimeError(f"{request.key}: vLLM scored other tokens than the given ones")
            scored += len(found)
            if on_progress:
                on_progress(Progress(done, len(requests), scored, time.monotonic() - started))
            yield TokenScores(
                key=request.key,
                logprobs=np.asarray(
                    [*_last(given.logprobs, n_given), *emitted.logprobs], np.float32
                ),
                ranks=np.asarray([*_last(given.ranks, n_given), *emitted.ranks], np.int32),
            )

    def close(self) -> None:
        """Give back the memory of the model."""
        if not self._copies:
            return
        for copy in self._copies:
            copy.llm_engine.engine_core.shutdown()
        self._copies = []
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _sampling(self, request: GenerationRequest) -> vllm.SamplingParams:
        # Complete: nothing is left to the model's generation_config.json.
        return vllm.SamplingParams(
            temperature=request.temperature,
            top_p=request.top_p,
            top_k=0,
            min_p=0.0,
            presence_penalty=0.0,
            frequency_penalty=0.0,
            repetition_penalty=1.0,
            seed=request.seed % 2**63,
            max_tokens=request.max_tokens,
            stop_token_ids=self._stop_ids,
            ignore_eos=True,  # the end tokens are in stop_token_ids
            logprobs=request.top_logprobs,  # beside the emitted token's own
            flat_logprobs=True,
            detokenize=False,
            # In pieces, for the progress. A piece a token would take 2 ms of CPU for 256 answers.
            output_kind=RequestOutputKind.DELTA,
            stream_interval=TOKENS_PER_PIECE,
        )

    def _run(
        self,
        tasks: Iterable[tuple[list[int], vllm.SamplingParams]],
        on_step: Callable[[int], None] = lambda under_way: None,
    ) -> Iterator[tuple[int, list[Any]]]:
        """Run tasks (prompt tokens, parameters); yields index and outputs as they finish."""
        engines = [copy.llm_engine for copy in self._copies]
        prompts = ((tokens_input(token_ids), parameters) for token_ids, parameters in tasks)
        return run_tasks(engines, prompts, self._under_way, self._request_ids, on_step)


def _scoring_parameters(last_token_id: int) -> vllm.SamplingParams:
    return vllm.SamplingParams(
        temperature=0.0,
        max_tokens=1,
        allowed_token_ids=[last_token_id],
        prompt_logprobs=0,
        logprobs=0,
        flat_logprobs=True,
        detokenize=False,
        # Cached tokens would have no logprobs of their own; sampling does use the cache.
        skip_reading_prefix_cache=True,
        output_kind=RequestOutputKind.FINAL_ONLY,
    )


def _listed(pieces: Sequence[Any], k: int) -> tuple[npt.NDArray[np.float32], TopLogprobs]:
    """The emitted tokens' logprobs, and the k likeliest tokens of each position.

    Args:
        pieces: vLLM's `FlatLogprobs`: at each position the emitted token, then the k likeliest.
    """
    values = np.array([p for piece in pieces for p in piece.logprobs], np.float32)
    ids = np.array([token for piece in pieces for token in piece.token_ids], np.int32)
    values, ids = values.reshape(-1, k + 1), ids.reshape(-1, k + 1)
    return values[:, 0], TopLogprobs(ids[:, 1:], values[:, 1:]) if k else NO_TOP


def _finish_reason(reason: str | None) -> Literal["stop", "length"]:
    if reason not in ("stop", "length"):
        raise RuntimeError(f"vLLM gave up a request: finish reason {reason!r}")
    return cast(Literal["stop", "length"], reason)


def _last(values: Sequence[Any], n: int) -> Sequence[Any]:
    return values[len(values) - n :]
