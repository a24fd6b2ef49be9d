"""One way to load a model, whatever engine runs it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from formats.format_settings import AUTO, FormatSettings
from formats.model_format import preset_template
from resources.engines.model_files import read_json
from resources.engines.settings import (
    EngineSettings,
    OpenAiSettings,
    SyntheticSettings,
    VllmSettings,
)

if TYPE_CHECKING:
    from resources.engines.protocol import InferenceEngine

PLAIN: Final = ("PreTrainedTokenizerFast", "TokenizersBackend")
"""Names of the class of tokenizers that are their tokenizer.json and nothing else."""


def load_tokenizer(path: Path, settings: FormatSettings = AUTO) -> Any:
    """A model's tokenizer, its chat template preset."""
    import transformers

    # AutoTokenizer would take the same class, and imports torch to find it.
    name = "PreTrainedTokenizerFast" if _declared_class(path) in PLAIN else "AutoTokenizer"
    tokenizer: Any = getattr(transformers, name).from_pretrained(path, trust_remote_code=False)
    preset_template(tokenizer, settings.template_settings)
    return tokenizer


def _declared_class(path: Path) -> str | None:
    file = path / "tokenizer_config.json"
    if not file.is_file():
        return None
    return read_json(file, "Copy or download it again.").get("tokenizer_class")


def load_engine(
    path: str, settings: EngineSettings, revision: str | None = None
) -> InferenceEngine:
    """Check and load a model with the engine that its settings name.

    Args:
        path: folder in Hugging Face layout or id of a model in the local hub cache.
        revision: hub revision.

    Raises:
        ModelFolderError: the folder is missing, incomplete or inconsistent.
        EngineUnavailableError: the engine's package is not installed, or its server cannot be used.
    """
    if isinstance(settings, VllmSettings):
        from resources.engines.vllm_engine import VllmEngine

        return VllmEngine(path, settings, revision)
    if isinstance(settings, OpenAiSettings):
        from resources.engines.openai_engine import OpenAiEngine

        return OpenAiEngine(path, settings, revision)
    if isinstance(settings, SyntheticSettings):
        from resources.engines.synthetic_engine import SyntheticEngine

        return SyntheticEngine(path, settings, revision)
    from resources.engines.transformers_engine import TransformersEngine

    return TransformersEngine(path, settings, revision)


def load_kept_engine(
    path: str,
    settings: VllmSettings,
    revision: str | None,
    gpus: int,
    log: Callable[[str], None],
) -> InferenceEngine:
    """vLLM with a model that an earlier step has loaded, or that later steps find loaded.

    Args:
        gpus: that the engine holds.
        log: told what is waited for.

    Raises:
        ModelFolderError, EngineUnavailableError: as `load_engine`; vLLM may fail to start.
        OSError: there is no place for the engine's files.
    """
    from resources.engines.kept.engine import KeptVllmEngine

    return KeptVllmEngine(path, settings, revision, gpus, log)
