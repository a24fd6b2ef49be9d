"""How a model is run: one settings class per inference engine, told apart by `kind`."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from resources.section import Section


class TransformersSettings(Section):
    """The embedded engine: a transformers model in this process."""

    kind: Literal["transformers"] = Field("transformers", description="which engine")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("bfloat16", description="weights")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where the model runs")
    batch_size: PositiveInt = Field(64, description="answers sampled together")
    scoring_tokens: PositiveInt = Field(
        65_536, description="tokens scored together, padding included"
    )


class VllmSettings(Section):
    """vLLM in this process."""

    kind: Literal["vllm"] = Field("vllm", description="which engine")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("bfloat16", description="weights")
    tensor_parallel_size: PositiveInt = Field(1, description="GPUs that share each layer")
    max_model_len: PositiveInt | None = Field(
        None, description="context in tokens; unset: the model's own"
    )
    max_num_seqs: PositiveInt = Field(256, description="answers sampled together")
    gpu_memory_utilization: float = Field(
        0.9, gt=0.0, le=1.0, description="share of GPU memory for weights and cache"
    )
    engine_arguments: dict[str, Any] = Field(
        default_factory=dict, description="further vLLM engine arguments, passed on as they are"
    )


class ServerSettings(Section):
    """How an OpenAI-compatible server is asked, and what may be spent there."""

    # A bad value may hold a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: str = Field(
        description="URL of the API, up to and with /v1; without user or password",
        pattern=r"^https?://",
    )
    served_model: str = Field(description="name under which the server has the model")
    api_key_env: str | None = Field(
        None, description="environment variable that holds the API key; unset: no key is sent"
    )
    concurrency: PositiveInt = Field(64, description="requests under way at once")
    timeout_seconds: PositiveFloat = Field(1_800.0, description="longest wait for one answer")
    max_attempts: PositiveInt = Field(8, description="tries of one request before giving up")
    backoff_seconds: PositiveFloat = Field(
        1.0, description="first pause after a failure; doubles, with jitter"
    )
    max_backoff_seconds: PositiveFloat = Field(60.0, description="longest pause")
    max_total_tokens: PositiveInt | None = Field(
        None, description="prompt and completion tokens one step may spend; then it stops cleanly"
    )
    max_cost: PositiveFloat | None = Field(
        None, description="money one step may spend, in the currency of the two prices"
    )
    price_per_million_prompt_tokens: float = Field(
        0.0, ge=0.0, description="for max_cost and the cost in metadata, any currency"
    )
    price_per_million_completion_tokens: float = Field(0.0, ge=0.0, description="likewise")

    @model_validator(mode="after")
    def _no_secret_in_the_url(self) -> ServerSettings:
        if "@" in urlsplit(self.base_url).netloc:
            raise ValueError(
                "base_url must hold neither user nor password: settings are shown in the UI. Put "
                "the key into an environment variable and name it in api_key_env"
            )
        return self

    @model_validator(mode="after")
    def _money_needs_prices(self) -> ServerSettings:
        prices = self.price_per_million_prompt_tokens + self.price_per_million_completion_tokens
        if self.max_cost is not None and not prices:
            raise ValueError(
                "max_cost needs price_per_million_prompt_tokens or …_completion_tokens"
            )
        return self


class OpenAiSettings(ServerSettings):
    """Any OpenAI-compatible server; the model's folder need only hold config and tokenizer."""

    kind: Literal["openai"] = Field("openai", description="which engine")
    endpoint: Literal["completions", "chat"] = Field(
        "completions",
        description="completions sends exact prompt tokens; chat is for hosted APIs and can "
        "neither continue a prefix nor score",
    )


class SyntheticSettings(Section):
    """Answers and probabilities that are made up at once, for a rehearsal (docs/rehearsal.md)."""

    kind: Literal["synthetic"] = Field("synthetic", description="which engine")
    mean_tokens: PositiveInt = Field(
        16_600, description="of an answer; by default the mean of the paper's 435K answers"
    )
    length_spread: PositiveFloat = Field(
        1.0, description="standard deviation of the logarithm of an answer's length"
    )
    max_model_len: PositiveInt | None = Field(
        None, description="context in tokens; unset: the model's own"
    )


SYNTHETIC = "synthetic"
WITHOUT_WEIGHTS = frozenset({"openai", SYNTHETIC})
"""Kinds of engines that need of a model's files only its config and its tokenizer."""


def cannot_score(engine: Section) -> str | None:
    """Why an engine cannot tell the probabilities of given tokens; None if it can."""
    if isinstance(engine, OpenAiSettings) and engine.endpoint == "chat":
        return "the chat endpoint cannot score given tokens; use endpoint: completions"
    return None


EngineSettings = Annotated[
    TransformersSettings | VllmSettings | OpenAiSettings | SyntheticSettings,
    Field(discriminator="kind"),
]
