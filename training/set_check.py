"""Whether a training set belongs to the model and the settings that it is to train with."""

from __future__ import annotations

from typing import Any

from training.settings import Training
from training.training_set import MAKE_ANEW, Description, TrainingSetError


def check_belongs(
    one: Description,
    settings: Training,
    *,
    tokenizer: dict[str, str],
    format: Any,
    model_config: Any,
    where: str,
) -> None:
    """Refuse a set that was made for another tokenizer or template, or packed for other settings.

    Args:
        tokenizer: parts of the model's own (`expected_model.tokenizer_parts`).
        format: how the model writes.
        model_config: the model's; of it the vocabulary and the positions are looked at.
        where: set and model, as a message names them.

    Raises:
        TrainingSetError: naming the first thing that differs.
    """
    made_of = one.made_of
    same = {
        **{part: (made_of.tokenizer.get(part), value) for part, value in tokenizer.items()},
        "the model's format": (made_of.format, format),
        "max_length": (made_of.max_length, settings.max_length),
        "packing": (made_of.packing, settings.packing),
    }
    for name, (found, wanted) in same.items():
        if found != wanted:
            raise TrainingSetError(
                f"{where}: the training set was made with another value of {name}: {found}, not "
                f"{wanted}. {MAKE_ANEW}"
            )
    if one.n_sequences % multiple_of(settings):
        raise TrainingSetError(
            f"{where}: the training set has {one.n_sequences:,} packed sequences, no multiple of "
            f"processes x micro_batch_size ({multiple_of(settings)}): some would be seen twice. "
            f"{MAKE_ANEW}"
        )
    positions = getattr(model_config, "max_position_embeddings", None)
    for name, found, most in (
        ("token id", one.largest_token, model_config.vocab_size - 1),
        ("tokens of a sample", one.longest, positions),
    ):
        if most is not None and found > most:
            raise TrainingSetError(
                f"{where}: the training set has a largest {name} of {found:,}, and the model takes "
                f"at most {most:,}. {MAKE_ANEW}"
            )


def multiple_of(settings: Training) -> int:
    """What the number of packed sequences is a multiple of.

    Between processes the data loader repeats sequences to even them out: it is left none to repeat.
    """
    return settings.processes * settings.micro_batch_size if settings.processes > 1 else 1
