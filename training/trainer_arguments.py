"""What the settings of a stage are in transformers' terms."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from transformers import TrainingArguments

from training.deepspeed import deepspeed_config
from training.settings import Training


def trainer_arguments(
    config: Training, output_dir: Path, n_sequences: int, *, run_name: str, is_weighted: bool
) -> TrainingArguments:
    """transformers' arguments of a stage.

    Args:
        output_dir: where the Trainer writes its restart points.
        n_sequences: packed sequences of an epoch.
        run_name: how trackers list the run.
    """
    accumulation = config.global_batch_size // (config.micro_batch_size * config.processes)
    steps = config.epochs * math.ceil(n_sequences / config.global_batch_size)
    return TrainingArguments(
        output_dir=str(output_dir),
        num_train_epochs=config.epochs,
        per_device_train_batch_size=config.micro_batch_size,
        gradient_accumulation_steps=accumulation,
        learning_rate=config.learning_rate,
        lr_scheduler_type="cosine_with_min_lr",
        lr_scheduler_kwargs={"min_lr_rate": config.min_learning_rate / config.learning_rate},
        warmup_steps=round(config.warmup_ratio * steps),
        adam_beta1=config.adam_beta1,
        adam_beta2=config.adam_beta2,
        adam_epsilon=config.adam_epsilon,
        weight_decay=config.weight_decay,
        max_grad_norm=config.max_grad_norm,
        optim="adamw_torch",
        bf16=config.dtype == "bfloat16",
        gradient_checkpointing=config.gradient_checkpointing,
        use_liger_kernel=config.liger_kernel,
        # Its fused loss has no weight of a token, and would take the place of the weighted one.
        liger_kernel_config={"fused_linear_cross_entropy": False} if is_weighted else None,
        deepspeed=deepspeed_config(config) if config.deepspeed_zero_stage else None,
        seed=config.seed,
        data_seed=config.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",  # RestartPoints says when
        report_to="none",  # training.trackers has the callbacks
        run_name=run_name,
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        ddp_find_unused_parameters=False,
        use_cpu=not torch.cuda.is_available(),
    )
