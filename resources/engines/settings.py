"""How a model is run: one settings class per inference engine, told apart by `kind`."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, ConfigDict, Field, PositiveFloat, PositiveInt, model_validator

from resources.section import Section

MOST_TOP = 19
"""Likeliest tokens of a position that can be asked for. vLLM and OpenAI list 20 at most, and on
chat endpoints the emitted token may take the place of one."""


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
    """vLLM, in a process that serves all steps of the machine, or in the step's own."""

    kind: Literal["vllm"] = Field("vllm", description="which engine")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("bfloat16", description="weights")
    tensor_parallel_size: PositiveInt = Field(1, description="GPUs that share each layer")
    pipeline_parallel_size: PositiveInt = Field(
        1, description="groups of GPUs that hold a part of the layers each"
    )
    data_parallel_size: PositiveInt = Field(
        1, description="copies of the model, each on GPUs of its own; requests go to either"
    )
    max_model_len: PositiveInt | None = Field(
        None, description="context in tokens; unset: the model's own"
    )
    max_num_seqs: PositiveInt = Field(256, description="answers sampled together by each copy")
    gpu_memory_utilization: float = Field(
        0.9, gt=0.0, le=1.0, description="share of GPU memory for weights and cache"
    )
    engine_arguments: dict[str, Any] = Field(
        default_factory=dict, description="further vLLM engine arguments, passed on as they are"
    )
    keep_alive_seconds: float = Field(
        300.0,
        ge=0.0,
        description="how long a loaded model that nobody uses is kept for the next step, unless "
        "its GPUs are wanted before; 0: each step loads it anew in its own process",
    )

    @property
    def gpus_per_copy(self) -> int:
        """GPUs that one copy of the model is cut over."""
        return self.tensor_parallel_size * self.pipeline_parallel_size

    @property
    def gpus(self) -> int:
        """GPUs of all copies."""
        return self.data_parallel_size * self.gpus_per_copy


def _plain_url(url: str) -> str:
    """Settings are shown in the UI, and errors name the URL: it may hold nothing secret."""
    parts = urlsplit(url)
    if "@" in parts.netloc or parts.query or parts.fragment or "?" in url or "#" in url:
        raise ValueError(
            "the URL must hold neither user nor password, nor anything behind ? or #: settings are "
            "shown in the UI. Put the key into an environment variable and name it in api_key_env"
        )
    return url.rstrip("/")


ApiUrl = Annotated[str, Field(pattern=r"^https?://"), AfterValidator(_plain_url)]


class ServerSettings(Section):
    """How an OpenAI-compatible server is asked, and what may be spent there."""

    # A bad value may hold a secret.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    base_url: ApiUrl | None = Field(
        None,
        description="URL of the API, up to and with /v1; without user, password or query",
    )
    base_urls: tuple[ApiUrl, ...] = Field(
        (),
        description="in place of base_url: several servers with the same model. Each request goes "
        "to the one with the fewest under way; one that dies is left out until it answers again",
    )
    served_model: str = Field(description="name under which the server has the model")
    api_key_env: str | None = Field(
        None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="environment variable that holds the API key; unset: no key is sent",
    )
    concurrency: PositiveInt = Field(
        64, description="requests under way at once, at all servers together"
    )
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

    @property
    def urls(self) -> tuple[str, ...]:
        """The servers, one or several."""
        return self.base_urls or ((self.base_url,) if self.base_url else ())

    @model_validator(mode="after")
    def _servers_are_named_once(self) -> ServerSettings:
        if bool(self.base_url) == bool(self.base_urls):
            raise ValueError("one of base_url and base_urls is needed, and not both")
        if len(set(self.base_urls)) < len(self.base_urls):
            raise ValueError("base_urls names a server twice")
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
        description="completions sends exact prompt tokens; chat is for hosted APIs and cannot "
        "score; only vLLM continues a prefix with it",
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
