"""Settings of a training stage: what the profile says of it, and what the program is given."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from resources.section import Probability, Section

Tracker = Literal["mlflow", "wandb"]


class Restart(Section):
    """When a training run saves its whole state, to go on from it after a kill."""

    every_steps: int = Field(0, ge=0, description="save after every so many steps; 0: not by steps")
    every_minutes: float = Field(
        15.0, ge=0.0, description="save when so many minutes have passed; 0: not by time"
    )
    keep: int = Field(2, ge=1, description="restart points kept; one of 4B parameters has ~56 GB")


class Lora(Section):
    """Low-rank adapters in the place of full fine-tuning (arXiv 2106.09685)."""

    rank: int = Field(16, ge=1, description="of an adapter: r x (inputs + outputs) new weights")
    alpha: int = Field(32, ge=1, description="an adapter's part is scaled by alpha / rank")
    dropout: float = Field(0.0, ge=0.0, lt=1.0, description="of an adapter's inputs, in training")
    target_modules: Literal["all-linear"] | tuple[str, ...] = Field(
        "all-linear",
        min_length=1,
        description="names of the layers that get one, such as [q_proj, v_proj]; `all-linear`: all "
        "but the output layer",
    )


class Training(Section):
    """Supervised fine-tuning settings (paper section 6.4.1 and the authors' training YAMLs)."""

    SHAPES_NO_WEIGHTS: ClassVar[frozenset[str]] = frozenset({"restart", "report_to"})
    """Settings of which another value gives the same weights."""

    epochs: int = Field(6, ge=1, description="passes over the samples")
    learning_rate: float = Field(5e-5, gt=0.0, description="peak learning rate")
    min_learning_rate: float = Field(1e-5, ge=0.0, description="end of the cosine")
    warmup_ratio: Probability = Field(0.1, description="share of the steps with linear warm-up")
    adam_beta1: float = Field(0.9, ge=0.0, lt=1.0, description="of AdamW")
    adam_beta2: float = Field(0.95, ge=0.0, lt=1.0, description="of AdamW")
    adam_epsilon: float = Field(1e-8, gt=0.0, description="of AdamW")
    weight_decay: float = Field(0.1, ge=0.0, description="of AdamW")
    max_grad_norm: float = Field(1.0, gt=0.0, description="gradients are clipped to this norm")
    global_batch_size: int = Field(64, ge=1, description="packed sequences per optimiser step")
    micro_batch_size: int = Field(1, ge=1, description="packed sequences per device and pass")
    max_length: int = Field(65_536, ge=8, description="tokens of one packed sequence")
    dtype: Literal["float32", "bfloat16"] = Field(
        "bfloat16", description="precision of a pass; AdamW moves float32 weights with either"
    )
    attention: Literal["sdpa", "eager", "flash_attention_2", "flash_attention_3"] = Field(
        "sdpa",
        description="attention kernels; `sdpa` needs nothing but torch, and a mask of max_length x "
        "max_length that keeps packed samples apart; `eager` is for models that have no other "
        "(gpt-oss); the others need a GPU, the package `flash-attn` (3: `flash-attn-3`), bfloat16 "
        "and micro_batch_size 1",
    )
    packing: bool = Field(
        True,
        description="several samples in one sequence; false for a model whose attention cannot "
        "tell them apart (gpt-oss with `eager`; the batch certificate finds it)",
    )
    gradient_checkpointing: bool = Field(True, description="recompute activations")
    liger_kernel: bool = Field(False, description="fused Triton kernels (GPU only)")
    deepspeed_zero_stage: Literal[0, 2, 3] = Field(0, description="0: no DeepSpeed")
    processes: int = Field(1, ge=1, description="training processes (one per GPU)")
    seed: int = Field(42, ge=0, lt=2**32, description="of the order of the samples")
    lora: Lora | None = Field(
        None, description="train adapters of the layers and not the weights; unset: the weights"
    )
    restart: Restart = Field(default_factory=Restart, description="shapes no weights")
    report_to: tuple[Tracker, ...] = Field(
        (),
        description="trackers beside TensorBoard: mlflow, wandb. Keys and addresses stand in the "
        "environment only; shapes no weights",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Training:
        if self.min_learning_rate > self.learning_rate:
            raise ValueError(
                f"min_learning_rate ({self.min_learning_rate}) is above learning_rate "
                f"({self.learning_rate})"
            )
        if self.global_batch_size % (self.micro_batch_size * self.processes):
            raise ValueError(
                f"global_batch_size ({self.global_batch_size}) is no multiple of "
                f"micro_batch_size x processes ({self.micro_batch_size} x {self.processes})"
            )
        if "flash" in self.attention and (self.micro_batch_size, self.dtype) != (1, "bfloat16"):
            raise ValueError(
                f"attention {self.attention} keeps packed samples apart in batches of one sequence "
                f"in bfloat16; micro_batch_size is {self.micro_batch_size}, dtype {self.dtype}"
            )
        return self

    def shaping(self) -> dict[str, Any]:
        """The settings that shape the weights: what a checkpoint is known by."""
        shaping = self.model_dump(mode="json", exclude=set(self.SHAPES_NO_WEIGHTS))
        if self.packing:  # as when there was nothing else
            del shaping["packing"]
        if self.lora is None:
            del shaping["lora"]
        return shaping


class OneEpoch(Training):
    """The third stage's settings: as the others', but one epoch unless said (paper 6.4.2)."""

    epochs: int = Field(1, ge=1, description="passes over the samples")
