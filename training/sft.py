"""Supervised fine-tuning of the student, the same program for all three stages.

By hand: `python -m training.sft --config sft.json`, where the JSON has the fields of `SftConfig`;
for several processes or DeepSpeed `python -m torch.distributed.run --nproc_per_node N -m
training.sft --config sft.json`. Killed, it goes on from its newest restart point when the same
command is given again. docs/training.md has the rest.

The trainer is transformers' own, on CPU and under DeepSpeed too. What makes the two meet: with
`use_cpu` the Trainer asks accelerate for a gloo world *before* DeepSpeed comes in (left out, on a
machine without GPUs accelerate finds no backend and takes every rank for a world of one), and
`cosine_with_min_lr` is given `min_lr_rate`, since DeepSpeed's optimizer has no default learning
rate to divide by. Losses are divided by the trained tokens of the whole global batch on all ranks
(the Trainer's `num_items_in_batch`), so ranks with more trained tokens weigh more. Where samples
have weights, the mean over these tokens is a weighted one (`training.weighted_loss`).
"""

from __future__ import annotations

import argparse
import os
import shutil
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    Trainer,
    TrainerCallback,
    set_seed,
)
from transformers.utils import logging as transformers_logging

from formats.checkpoint_folder import ADAPTER, LOG, partial_folder
from formats.format_settings import AUTO, FormatSettings
from resources.compute.gpu_lease import keep_leased_gpus
from resources.engines.end_tokens import name_end_token
from resources.engines.load import load_tokenizer
from resources.engines.model_folder import inspect_model
from training.checkpoint import (
    check_same_run,
    finish,
    forget_restart_points,
    is_complete,
    newest_restart_point,
    note_error,
    only_writer,
    start_partial,
    step_of,
    writing_folder,
)
from training.dataset import PackedDataset, collate
from training.deepspeed import compile_operator
from training.errors import TrainingError
from training.expected_model import check_same_kind, tokenizer_parts
from training.local_copy import local_copy
from training.lora import adapted, merged
from training.precision import in_type, loaded_type
from training.progress import Report, reporting
from training.restart import RestartPoints, cannot_write
from training.set_check import check_belongs
from training.settings import Training
from training.start_check import certify_start
from training.step_log import StepLog
from training.steps_drawn import write_drawn
from training.trackers import (
    check_trackers,
    last_logged_step,
    restore_events,
    run_name,
    trackers,
)
from training.trainer_arguments import trainer_arguments
from training.training_set import describe, open_training_set
from training.weighted_loss import WeightedTrainer, weigh_losses


class SftConfig(Training):
    """A training stage: the profile's settings, and what is trained on what."""

    SHAPES_NO_WEIGHTS = Training.SHAPES_NO_WEIGHTS | {
        "gpus", "local_folder", "output_dir", "expected_model_path", "model_path", "training_set",
        "tags",
    }  # fmt: skip
    """With where things are, since what is there is hashed."""

    model_path: str
    training_set: str
    """Folder that `training.make_set` made."""
    output_dir: str
    expected_model_path: str | None = None
    """A model of the architecture and with the tokenizer that `model_path` has to have."""
    gpus: int = Field(0, ge=0, description="GPUs declared (compute.training.gpus); 0: none needed")
    format: FormatSettings = AUTO
    local_folder: str | None = Field(
        None,
        description="folder on each machine's own disk that the training set is copied to, once a "
        "machine; empty: in its temporary folder; unset: the set is mapped where it lies",
    )
    tags: dict[str, str] = Field(
        default_factory=dict,
        description="what trackers list the run by: profile, stage, checkpoint_key, git_commit",
    )


def train(config: SftConfig, report: Report) -> None:
    """Run one stage and leave a complete checkpoint folder at `config.output_dir`.

    Raises:
        TrainingSetError: the training set is damaged, or was made for another tokenizer, template
            or packing.
        CertificateError: the batches are not what training needs; nothing was trained.
        ExpectedModelError: the starting checkpoint is not what the stage expects.
        TrainingError: the machine is not what is declared, a tracker has no package or key, the
            folder belongs to another run, the ranks see different training sets, the loss is no
            longer finite, or the disk is full.
    """
    output_dir = Path(config.output_dir)
    check_devices(config)
    if config.expected_model_path:
        check_same_kind(Path(config.model_path), Path(config.expected_model_path))
    run = identity(config)
    if is_complete(output_dir):
        check_same_run(output_dir, run)
        forget_restart_points(output_dir)
        report(f"progress: {output_dir} is complete already")
        return
    is_main = int(os.environ.get("RANK", "0")) == 0
    if is_main:
        check_trackers(config.report_to)
    with only_writer(output_dir) if is_main else nullcontext():
        _train(config, run, report, is_main)


def _train(config: SftConfig, run: dict[str, Any], report: Report, is_main: bool) -> None:
    output_dir = Path(config.output_dir)
    restart_point = newest_restart_point(output_dir)
    told = last_logged_step(output_dir)
    folder = start_partial(output_dir, run) if is_main else partial_folder(output_dir)
    if restart_point and is_main:
        shutil.copyfile(restart_point / LOG, folder / LOG)
        restore_events(restart_point, output_dir)
        report(f"progress: going on from the restart point of step {step_of(restart_point)}")
    if config.deepspeed_zero_stage:
        compile_operator()
    set_seed(config.seed)
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    tokenizer = load_tokenizer(Path(config.model_path), config.format)
    mapped = Path(config.training_set)
    if config.local_folder is not None:
        mapped = local_copy(mapped, config.local_folder, report)
    training_set = open_training_set(mapped)
    check_belongs(
        training_set.description, config, format=config.format,
        tokenizer=tokenizer_parts(Path(config.model_path)),
        model_config=AutoConfig.from_pretrained(config.model_path, trust_remote_code=False),
        where=f"training_set {config.training_set}, model_path {config.model_path}",
    )  # fmt: skip
    samples, sequences = training_set.samples, training_set.sequences
    model: Any = AutoModelForCausalLM.from_pretrained(
        config.model_path,
        dtype=loaded_type(config),
        attn_implementation=config.attention,
        trust_remote_code=False,
    )
    model.config.use_cache = False
    name_end_token(model.generation_config, tokenizer)
    whole = model  # what has the output layer, with adapters too
    if config.lora:
        model = adapted(model, config.lora)
    restart = RestartPoints(config.restart, output_dir)
    log = StepLog(
        report if is_main else None, folder / LOG if is_main else None, len(samples.token_ids)
    )
    tracked = trackers(config.report_to, config.tags, output_dir, report, told) if is_main else []
    trainer = (WeightedTrainer if samples.is_weighted else Trainer)(
        model=model,
        args=trainer_arguments(
            config,
            writing_folder(output_dir),
            len(sequences),
            run_name=run_name(config.tags, output_dir),
            is_weighted=samples.is_weighted,
        ),
        train_dataset=PackedDataset(samples, sequences, is_weighted=samples.is_weighted),
        data_collator=partial(collate, pad_id=tokenizer.eos_token_id),
        callbacks=[*tracked, log, restart],
    )
    if samples.is_weighted:
        weigh_losses(whole, trainer.accelerator.autocast)
    trainer.remove_callback(_callback_named(trainer, "PrinterCallback"))
    orders = certify_start(
        training_set, trainer.get_train_dataloader(), model, tokenizer,
        autocast=trainer.accelerator.autocast, epochs=config.epochs,
        folder=folder if is_main else None,
    )  # fmt: skip
    if is_main:
        write_drawn(orders, config.global_batch_size // config.processes, folder)
    try:
        trainer.train(resume_from_checkpoint=str(restart_point) if restart_point else None)
    except Exception as error:
        restart.explain(error)
        raise
    try:
        _save(config, trainer, folder, is_main)
        if is_main:
            tokenizer.save_pretrained(folder)
            (folder / "sft.json").write_text(config.model_dump_json(indent=1), encoding="utf-8")
            finish(output_dir)
            forget_restart_points(output_dir)
    except Exception as error:
        for weights in folder.rglob("*.safetensors"):
            weights.unlink()  # of no use, and the disk may be full
        raise cannot_write("the finished checkpoint", output_dir, error) from error


def _save(config: SftConfig, trainer: Trainer, folder: Path, is_main: bool) -> None:
    """Write the trained model; every rank comes here, as under ZeRO-3 each has a part of it."""
    dtype = getattr(torch, config.dtype)
    trained: Any = trainer.model
    if config.lora:
        trainer.save_model(str(folder / ADAPTER))
        if is_main:
            whole = merged(config.model_path, folder / ADAPTER)
            whole.generation_config = trained.generation_config
            in_type(whole, dtype).save_pretrained(folder)
        return
    trained.config.use_cache = True
    if is_main:
        trainer.model = in_type(trained, dtype)
    trainer.save_model(str(folder))


def check_devices(config: SftConfig) -> None:
    """Refuse a start with other processes or fewer GPUs than the settings say.

    Raises:
        TrainingError: naming the setting and what was found.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    is_launched = "LOCAL_RANK" in os.environ
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    found = torch.cuda.device_count()
    # Without a launcher the Trainer would share each batch out over all GPUs that it sees.
    needs_launcher = config.deepspeed_zero_stage or found > 1
    if started != config.processes or (needs_launcher and not is_launched):
        raise TrainingError(
            f"processes is {config.processes} and deepspeed_zero_stage "
            f"{config.deepspeed_zero_stage}, but {started} process(es) were started"
            f"{'' if is_launched else ' without a launcher'}. Start with `python -m "
            f"torch.distributed.run --nproc_per_node {config.processes} -m training.sft …`."
        )
    if (config.gpus or found) and found < here:
        raise TrainingError(
            f"compute.training.gpus is {config.gpus} and processes {config.processes}: {here} on "
            f"this machine, which has {found} GPU(s). Lower processes and compute.training.gpus, "
            "or run where they are."
        )


def identity(config: SftConfig) -> dict[str, Any]:
    """What shapes the weights: settings, and hashes of the starting model and of the rows."""
    made_of = describe(Path(config.training_set)).made_of
    shaping = config.shaping()
    if config.format == AUTO:  # as before there were others
        del shaping["format"]
    return {
        **shaping,
        "system_prompt": made_of.system_prompt,
        "mask_student_prefix": made_of.mask_student_prefix,
        "model": inspect_model(config.model_path).content_hash,
        "samples": [file.sha256 for file in made_of.sample_files],
    }


def _callback_named(trainer: Trainer, name: str) -> Any:
    return next(
        (type(c) for c in trainer.callback_handler.callbacks if type(c).__name__ == name),
        TrainerCallback,
    )


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--config", required=True, type=Path, help="JSON with SftConfig's fields")
    keep_leased_gpus()
    config = SftConfig.model_validate_json(parser.parse_args().config.read_text(encoding="utf-8"))
    with reporting() as report:
        try:
            train(config, report)
        except Exception as error:
            note_error(Path(config.output_dir), error)
            raise


if __name__ == "__main__":
    main()
