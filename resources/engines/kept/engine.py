"""vLLM that outlives the step: one engine per model and settings, for all steps of the machine."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from resources.compute.gpus import usable_gpus
from resources.engines.kept.borrowing import Borrowed, borrow
from resources.engines.kept.place import SERVER, KeptModel, Place, identity_of
from resources.engines.model_folder import ModelFolder, inspect_model
from resources.engines.openai_client import RequestFailedError
from resources.engines.openai_engine import OpenAiEngine
from resources.engines.protocol import (
    Completion,
    EngineUnavailableError,
    GenerationRequest,
    ModelIdentity,
    ProgressCallback,
    ScoringRequest,
    TokenScores,
)
from resources.engines.settings import OpenAiSettings, VllmSettings
from resources.engines.vllm_arguments import BUILDS, NOT_INSTALLED

WAITING_PER_SEQUENCE = 2
"""Requests at a server per sequence that it runs at once: it never waits for the next one."""
SECONDS_FOR_AN_ANSWER = 7 * 24 * 3_600.0
"""A server that is gone is noticed by its connection; one that is busy is waited for."""


class KeptVllmEngine(OpenAiEngine):
    """See `resources.engines.protocol.InferenceEngine`.

    To the rest of the pipeline it is vLLM, as in the step's own process: identity, requests' keys,
    context and answers are the same, so that either goes on with what the other began.
    """

    def __init__(
        self,
        path: str,
        settings: VllmSettings,
        revision: str | None,
        gpus: int,
        log: Callable[[str], None],
        program: str = SERVER,
    ) -> None:
        """Find the engine, or start it.

        Args:
            path: folder in Hugging Face layout or id of a model in the local hub cache.
            gpus: that the engine holds.
            log: told what is waited for.
            program: module that runs one server.

        Raises:
            ModelFolderError: the folder is missing, incomplete or inconsistent.
            EngineUnavailableError: vLLM is not installed, or did not start.
            EnginePlaceError, ForeignFolderError: there is no place for its files.
        """
        folder = inspect_model(path, revision)
        model = kept_model(folder, settings, gpus, program)
        self._borrowed = borrow(Place.of(model.identity), model, log)
        try:
            hosts = {
                f"http://copy-{copy}": socket
                for copy, socket in enumerate(self._borrowed.running.sockets)
            }
            found = self._connect(folder, _server_settings(settings, model, list(hosts)), hosts)
        except BaseException:
            self._borrowed.give_back()
            raise
        self._context = self._scoring_context = model.context
        self._identity = ModelIdentity(
            model=folder.name,
            revision=folder.content_hash[:16],
            engine="vllm",
            engine_version=found.version,
        )

    def generate(
        self, requests: Sequence[GenerationRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[Completion]:
        """Ask for every request, many at once.

        Raises:
            EngineUnavailableError: the engine ended meanwhile.
        """
        yield from self._told_if_ended(super().generate(requests, on_progress))

    def score(
        self, requests: Sequence[ScoringRequest], on_progress: ProgressCallback | None = None
    ) -> Iterator[TokenScores]:
        """Score every request; no token's scores come from the prefix cache.

        Raises:
            EngineUnavailableError: the engine ended meanwhile.
        """
        yield from self._told_if_ended(super().score(requests, on_progress))

    def close(self) -> None:
        """Close all connections; the engine stays for the next step."""
        try:
            super().close()
        finally:
            self._borrowed.give_back()

    def _told_if_ended(self, answers: Iterator[Any]) -> Iterator[Any]:
        try:
            yield from answers
        except RequestFailedError as error:
            borrowed: Borrowed = self._borrowed
            if not borrowed.has_ended():
                raise
            raise EngineUnavailableError(
                f"vLLM with {self._identity.model} ended while it was asked. What was finished is "
                f"kept: run the step again. The end of its log ({borrowed.place.folder}):\n"
                f"{borrowed.place.last_lines()}"
            ) from error

    def _probe(self, body: dict[str, Any]) -> None:
        """Nothing to find out: `vllm_arguments` has the servers return the model's own logprobs."""


def kept_model(
    folder: ModelFolder, settings: VllmSettings, gpus: int, program: str = SERVER
) -> KeptModel:
    """What an engine runs. All that makes its answers others, or its GPUs, makes another engine.

    Raises:
        EngineUnavailableError: vLLM is not installed.
    """
    shape = settings.model_dump(mode="json", exclude={"keep_alive_seconds"})
    set_for_vllm = {name: value for name, value in os.environ.items() if name.startswith("VLLM_")}
    identity = identity_of(
        folder.name, folder.content_hash, shape, gpus, usable_gpus(),
        _vllm_version(), set_for_vllm, sys.prefix, program,
    )  # fmt: skip
    return KeptModel(
        name=folder.name,
        folder=str(folder.path.absolute()),
        context=settings.max_model_len or folder.max_position_embeddings,
        settings=settings.model_dump(mode="json"),
        gpus=gpus,
        identity=identity,
        program=program,
    )


def _server_settings(
    settings: VllmSettings, model: KeptModel, hosts: Sequence[str]
) -> OpenAiSettings:
    at_once = WAITING_PER_SEQUENCE * settings.max_num_seqs * settings.data_parallel_size
    return OpenAiSettings(
        base_urls=tuple(f"{host}/v1" for host in hosts),
        served_model=model.served_model,
        concurrency=at_once,
        timeout_seconds=SECONDS_FOR_AN_ANSWER,
        max_attempts=3,
        backoff_seconds=0.5,
    )


def _vllm_version() -> str:
    for build in BUILDS:
        try:
            return f"{build} {version(build)}"
        except PackageNotFoundError:
            continue
    raise EngineUnavailableError(NOT_INSTALLED)
