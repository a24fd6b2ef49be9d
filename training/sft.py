"""Supervised fine-tuning of the student, the same program for all three stages.

By hand: `python -m training.sft --config sft.json`, where the JSON has the fields of `SftConfig`.
Several processes: `python -m torch.distributed.run --nproc_per_node N -m training.sft …`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    Trainer,
    TrainerCallback,
    TrainingArguments,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from dasd_assets.profile import Training
from training.certificate import certify
from training.checkpoint import ERROR, LOG, finish, is_complete, start_partial
from training.dataset import PackedDataset, collate
from training.deepspeed import deepspeed_config
from training.expected_model import check_same_kind
from training.packing import pack
from training.progress import Report, reporting
from training.rows import load_samples

SECONDS_BETWEEN_REPORTS = 2.0


class SftConfig(Training):
    """A training stage: the profile's settings, and what is trained on what."""

    model_path: str
    samples: list[str]
    system_prompt: str
    output_dir: str
    mask_student_prefix: bool = False
    expected_model_path: str | None = None
    """A model of the architecture and with the tokenizer that `model_path` has to have."""


class TrainingError(RuntimeError):
    """Training cannot start or go on; the message is the cause."""


def train(config: SftConfig, report: Report) -> None:
    """Run one stage and leave a complete checkpoint folder at `config.output_dir`.

    Raises:
        SampleError: a row cannot be trained on.
        CertificateError: the batches are not what training needs; nothing was trained.
        TrainingError: the loss is no longer finite.
    """
    output_dir = Path(config.output_dir)
    if is_complete(output_dir):
        report(f"progress: {output_dir} is complete already")
        return
    is_main = int(os.environ.get("RANK", "0")) == 0
    folder = start_partial(output_dir) if is_main else output_dir.with_name("unused")
    set_seed(config.seed)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    if config.expected_model_path:
        check_same_kind(Path(config.model_path), Path(config.expected_model_path))
    tokenizer = AutoTokenizer.from_pretrained(config.model_path)
    model: Any = AutoModelForCausalLM.from_pretrained(
        config.model_path, dtype=getattr(torch, config.dtype)
    )
    model.config.use_cache = False
    samples = load_samples(
        [Path(file) for file in config.samples],
        tokenizer,
        system_prompt=config.system_prompt,
        max_length=config.max_length,
        vocab_size=model.config.vocab_size,
        max_positions=getattr(model.config, "max_position_embeddings", None),
        mask_student_prefix=config.mask_student_prefix,
    )
    # Between processes the data loader repeats sequences to even them out: leave it none to repeat.
    multiple_of = config.processes * config.micro_batch_size if config.processes > 1 else 1
    sequences = pack(samples.lengths, config.max_length, multiple_of)
    log = folder / LOG if is_main else None
    trainer = Trainer(
        model=model,
        args=_arguments(config, folder, len(sequences)),
        train_dataset=PackedDataset(samples, sequences),
        data_collator=partial(collate, pad_id=tokenizer.eos_token_id),
        callbacks=[_Log(report if is_main else None, log, len(samples.token_ids))],
    )
    trainer.remove_callback(_callback_named(trainer, "PrinterCallback"))
    certify(
        samples, sequences, trainer.get_train_dataloader(), model, tokenizer,
        system_prompt=config.system_prompt, mask_student_prefix=config.mask_student_prefix,
        epochs=config.epochs, max_length=config.max_length, folder=folder if is_main else None,
    )  # fmt: skip
    trainer.train()
    model.config.use_cache = True
    trainer.save_model(str(folder))
    if is_main:
        tokenizer.save_pretrained(folder)
        (folder / "sft.json").write_text(config.model_dump_json(indent=1), encoding="utf-8")
        finish(output_dir)


def _arguments(config: SftConfig, folder: Path, n_sequences: int) -> TrainingArguments:
    accumulation = config.global_batch_size // (config.micro_batch_size * config.processes)
    steps = config.epochs * math.ceil(n_sequences / config.global_batch_size)
    return TrainingArguments(
        output_dir=str(folder),
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
        deepspeed=deepspeed_config(config) if config.deepspeed_zero_stage else None,
        seed=config.seed,
        data_seed=config.seed,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        remove_unused_columns=False,
        dataloader_num_workers=0,
        use_cpu=not torch.cuda.is_available(),
    )


def _callback_named(trainer: Trainer, name: str) -> Any:
    return next(
        (type(c) for c in trainer.callback_handler.callbacks if type(c).__name__ == name),
        TrainerCallback,
    )


class _Log(TrainerCallback):
    """Writes one line per step, reports every few seconds, stops when the loss is lost."""

    def __init__(self, report: Report | None, log: Path | None, tokens_per_epoch: int) -> None:
        self._report = report
        self._log = log
        self._tokens_per_epoch = tokens_per_epoch
        self._started = self._reported = time.monotonic()

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._started = self._reported = time.monotonic()

    def on_log(
        self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any
    ) -> None:
        if not logs or "loss" not in logs:
            return
        if not math.isfinite(float(logs["loss"])):
            raise TrainingError(
                f"the loss is {logs['loss']} at step {state.global_step}: learning rate too high, "
                "or the starting checkpoint is broken"
            )
        seconds = time.monotonic() - self._started
        tokens_per_second = self._tokens_per_epoch * float(state.epoch) / max(seconds, 1e-9)
        row = {
            "step": state.global_step,
            "epoch": round(float(state.epoch), 4),
            "loss": float(logs["loss"]),
            "learning_rate": float(logs["learning_rate"]),
            "grad_norm": float(logs.get("grad_norm", 0.0)),
            "seconds": round(seconds, 3),
            "tokens_per_second": round(tokens_per_second),
        }
        if self._log:
            with self._log.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")
        now = time.monotonic()
        is_last = state.global_step == state.max_steps
        if self._report and (is_last or now - self._reported > SECONDS_BETWEEN_REPORTS):
            self._reported = now
            left = seconds * (state.max_steps - state.global_step) / max(state.global_step, 1)
            self._report(
                f"progress: step {state.global_step}/{state.max_steps}, loss {row['loss']:.3f}, "
                f"learning rate {row['learning_rate']:.1e}, {tokens_per_second:,.0f} tokens/s, "
                f"{left:.0f} s left"
            )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, type=Path, help="JSON with SftConfig's fields")
    config = SftConfig.model_validate_json(parser.parse_args().config.read_text(encoding="utf-8"))
    with reporting() as report:
        try:
            train(config, report)
        except Exception as error:
            failed = Path(config.output_dir + ".partial")
            if failed.is_dir():
                (failed / ERROR).write_text(f"{type(error).__name__}: {error}", encoding="utf-8")
            raise


if __name__ == "__main__":
    main()
