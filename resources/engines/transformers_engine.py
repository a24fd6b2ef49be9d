"""The embedded engine: a transformers model in this process, on CPU or one GPU."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any

import torch
import transformers
from transformers import AutoModelForCausalLM

from resources.engines.decode import sample_batch
from resources.engines.end_tokens import end_token_ids
from resources.engines.load import load_tokenizer
from resources.engines.local_tokenizer import LocalTokenizerEngine
from resources.engines.model_folder import inspect_model
from resources.engines.prompts import (
    check_generation,
    check_scoring,
)
from resources.engines.protocol import (
    Completion,
    GenerationRequest,
    ModelIdentity,
    Progress,
    ProgressCallback,
    ScoringRequest,
    TokenScores,
)
from resources.engines.scoring import batches_by_length, score_batch
from resources.engines.settings import TransformersSettings
from resources.engines.under_way import Count


class TransformersEngine(LocalTokenizerEngine):
    """See `resources.engines.protocol.InferenceEngine`."""

    def __init__(
        self,
        model_path: str,
        settings: TransformersSettings,
        revision: str | None = None,
    ) -> None:
        """Check and load a model.

        Args:
            model_path: folder in Hugging Face layout or id of a model in the local hub cache.

        Raises:
            ModelFolderError: the folder is missing, incomplete or inconsistent.
        """
        folder = inspect_model(model_path, revision)
        device = settings.device
        if device == "auto":
            device = "cuda" if torch.cuda.is_available() else "cpu"
        transformers.utils.logging.disable_progress_bar()
        self._tokenizer = load_tokenizer(folder.path)
        model = AutoModelForCausalLM.from_pretrained(
            folder.path, dtype=getattr(torch, settings.dtype), trust_remote_code=False
        )
        self._model: Any = model.eval().to(torch.device(device))
        self._context = folder.max_position_embeddings
        self._batch_size = settings.batch_size
        self._scoring_tokens = settings.scoring_tokens
        self._stop_ids = frozenset(
            end_token_ids(self._model.generation_config.eos_token_id, self._tokenizer)
        )
        self._pad_id = next(iter(self._stop_ids))
        self._identity = ModelIdentity(
            model=folder.name,
            revision=folder.content_hash[:16],
            engine="transformers",
            engine_version=transformers.__version__,
        )

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[Completion]:
        """Sample every request in batches of like prompt length."""
        check_generation(self, requests)
        # Long prompts first: a batch that does not fit into memory fails at once, not at the end.
        ordered = sorted(
            requests, key=lambda r: (len(r.prompt.token_ids) + len(r.prefix_token_ids), r.seed),
            reverse=True,
        )  # fmt: skip
        count = Count(len(ordered), on_progress)
        for start in range(0, len(ordered), self._batch_size):
            batch = ordered[start : start + self._batch_size]
            keys = [request.key(self._identity) for request in batch]
            for completion in sample_batch(
                self._model, batch, keys, self._stop_ids, self._pad_id, count.under_way
            ):
                count.finished(len(completion.token_ids))
                yield completion

    def score(
        self, requests: Sequence[ScoringRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[TokenScores]:
        """Score every request, like lengths together."""
        check_scoring(requests, self._context)
        started, done, scored = time.monotonic(), 0, 0
        for batch in batches_by_length(requests, self._scoring_tokens):
            for scores in score_batch(self._model, batch, self._pad_id):
                done += 1
                scored += len(scores.logprobs)
                yield scores
            if on_progress:
                on_progress(Progress(done, len(requests), scored, time.monotonic() - started))

    def close(self) -> None:
        """Give back the memory of the model."""
        self._model = None
        if torch.cuda.is_available():
            torch.cuda.empty_cache()
