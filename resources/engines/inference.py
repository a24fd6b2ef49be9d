"""Inference models as Dagster resources: what is configured now, loaded when first used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from resources.compute.gpu_lease import check_gpus, holds_gpus, lease_gpus

if TYPE_CHECKING:
    from formats.model_format import ModelFormat
    from resources.engines.model_folder import ModelFolder
    from resources.engines.protocol import InferenceEngine


class InferenceModel(dg.ConfigurableResource):
    """A model and the engine that runs it. No weights are read before `open`."""

    path: str = Field(description="folder in Hugging Face layout, or id in the local hub cache")
    revision: str | None = Field(None, description="hub revision; a folder is hashed instead")
    engine: dict[str, Any] = Field(
        description="how the model is run: the engine settings of the profile"
    )
    format: dict[str, Any] = Field(
        default_factory=dict, description="how it writes: the format settings of the profile"
    )
    threads: int = Field(1, description="CPU threads of the embedded engines")
    gpus: int = Field(0, description="of this machine that a loaded model holds")

    def inspect(self) -> ModelFolder:
        """Check the model's files without loading weights; a server's model needs none here.

        Raises:
            ModelFolderError: the folder is missing, incomplete or inconsistent.
        """
        from resources.engines.model_folder import inspect_model
        from resources.engines.settings import WITHOUT_WEIGHTS

        has_weights = self.engine.get("kind") not in WITHOUT_WEIGHTS
        return inspect_model(self.path, self.revision, weights=has_weights)

    def tokenizer(self) -> Any:
        """The model's tokenizer alone, its chat template preset; no weights are read."""
        from formats.format_settings import FormatSettings
        from resources.engines.load import load_tokenizer

        return load_tokenizer(self.inspect().path, FormatSettings(**self.format))

    def signature(self) -> tuple[str, str]:
        """`model` and `model_revision` of the rows that it writes, as its engine names itself."""
        from resources.engines.settings import WITHOUT_WEIGHTS

        folder = self.inspect()
        name = self.engine.get("served_model") or folder.name
        named = self.revision if self.engine.get("kind") in WITHOUT_WEIGHTS else None
        return name, named or folder.content_hash[:16]

    def written_format(self) -> ModelFormat:
        """How the model writes its answers; one that has no format yet thinks with `<think>`."""
        from formats.format_settings import FormatSettings
        from formats.model_format import student_format

        return student_format(self.tokenizer(), FormatSettings(**self.format))

    @contextmanager
    def open(self, path: str | None = None) -> Iterator[InferenceEngine]:
        """Load the model (or, with the same settings, the one at `path`) until the block ends.

        The process holds the GPUs it is loaded on until it ends (`resources/compute/gpu_lease.py`).
        vLLM is loaded in a process of its own where that may be kept for later steps. A process
        that holds GPUs itself has vLLM in it, as nobody else gets these; so has a step that
        declares none where there are some: they could not be asked back.
        """
        from pydantic import TypeAdapter

        from formats.format_settings import FormatSettings
        from resources.engines.load import load_engine, load_kept_engine
        from resources.engines.settings import WITHOUT_WEIGHTS, EngineSettings, VllmSettings

        settings: EngineSettings = TypeAdapter(EngineSettings).validate_python(self.engine)
        model, revision = path or self.path, None if path else self.revision
        log = dg.get_dagster_logger().info
        engine: InferenceEngine
        known = check_gpus(self.gpus, self.path) if settings.kind not in WITHOUT_WEIGHTS else []
        may_be_kept = not holds_gpus() and (self.gpus or not known)
        if isinstance(settings, VllmSettings) and settings.keep_alive_seconds and may_be_kept:
            engine = load_kept_engine(model, settings, revision, self.gpus, log)
        else:
            if settings.kind not in WITHOUT_WEIGHTS:
                lease_gpus(self.gpus, self.path, log)
            _use_threads(self.threads)
            engine = load_engine(model, settings, revision)
        engine.write_as(FormatSettings(**self.format))
        try:
            yield engine
        finally:
            engine.close()


def _use_threads(threads: int) -> None:
    """Keep to the declared CPU cores: several steps share a machine."""
    import torch

    torch.set_num_threads(threads)
