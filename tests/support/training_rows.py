"""Training rows for tests, and the shipped tiny student."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from dasd_assets.profile import PROJECT_ROOT
from training.encode_parts import SetConfig
from training.make_set import make_training_set
from training.set_check import multiple_of
from training.sft import SftConfig
from training.training_set import describe

STUDENT = PROJECT_ROOT / "tiny_world" / "models" / "student"

Row = dict[str, Any]


def row(number: int, **columns: Any) -> Row:
    text = f"<think>\nOnes: {number} + 1.\n</think>\n\nIt is {number + 1}."
    return {
        "question": f"What is {number} + 1?",
        "response_text": text,
        "student_prefix_bytes": 0,
        **columns,
    }


def with_set(config: SftConfig, *files: Path, **settings: Any) -> SftConfig:
    """The configuration with a training set of these files, made for its model and its packing.

    Args:
        settings: of `SetConfig`, if not the configuration's.
    """
    folder = Path(config.training_set).parent
    number = len(list(folder.glob("set-*")))
    made = SetConfig(
        **{
            "model_path": config.model_path,
            "samples": [str(file) for file in files],
            "system_prompt": "You are a helpful assistant.",
            "output_dir": str(folder / f"set-{number}"),
            "format": config.format,
            "max_length": config.max_length,
            "packing": config.packing,
            "multiple_of": multiple_of(config),
            **settings,
        }
    )
    make_training_set(made, lambda line: None)
    return config.model_copy(update={"training_set": made.output_dir})


def sample_files(config: SftConfig) -> list[Path]:
    """The files of rows that a configuration's training set is made of."""
    return [Path(file.path) for file in describe(Path(config.training_set)).made_of.sample_files]
