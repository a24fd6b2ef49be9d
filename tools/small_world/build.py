"""Builds the next small world (docs/small-world.md) from a seed, beside the one that ships.

    python -m tools.small_world.build --out <folder> --seed 0

Questions and tokenizers come out byte for byte the same everywhere. Weights depend on the
order of floating-point sums, hence on the machine and its number of threads; the manifest
records what was measured on those that are shipped.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tools.small_world.corpus import (
    SHARPNESS,
    one_pass,
    practice,
    problem_stream,
    read_by_student,
    student_answer,
    teacher_answer,
)
from tools.small_world.models import new_student, sharpen
from tools.small_world.muon import Muon
from tools.small_world.problems import Problem
from tools.small_world.properties import LIMITS, Models, measure, missed
from tools.small_world.questions import drops, evaluation_problems
from tools.small_world.tokenizers import train_student_tokenizer, train_teacher_tokenizer
from tools.tiny_world.build import (
    MANIFEST,
    N_TOKENIZER_DOCUMENTS,
    file_hashes,
    save,
    train_in_stages,
)
from tools.tiny_world.drawing import Held, write_rows
from tools.tiny_world.measuring import summary
from tools.tiny_world.models import new_teacher
from tools.tiny_world.pretraining import Pretraining

# Many small steps teach these models more than few large ones.
_pretraining = partial(
    Pretraining, batch_tokens=512, peak_learning_rate=1.5e-3, final_learning_rate=3e-5
)
# What is read in turn, and how: to look things up first, then to go through them twice, and habits
# (shares of the ways, flaws, what half-learnt students write) last. A letter that is said three
# times in an answer is copied from before; to find it among the options is learnt where it is not.
Stage = tuple[Callable[[Problem, random.Random], str], Pretraining]
TEACHER_TURN = ("math", "science", "code", "math", "instruction_following", "science")
TEACHER_STAGES: tuple[Stage, ...] = (
    (one_pass, _pretraining(35_000, TEACHER_TURN, peak_learning_rate=2e-3)),
    (practice, _pretraining(40_000, TEACHER_TURN)),
    (teacher_answer, _pretraining(20_000, TEACHER_TURN, peak_learning_rate=5e-4)),
)
STUDENT_TURN = ("math", "science", "code", "instruction_following", "science", "math",
                "instruction_following")  # fmt: skip
STUDENT_STAGES: tuple[Stage, ...] = (
    (
        partial(read_by_student, answer=one_pass),
        _pretraining(35_000, STUDENT_TURN, peak_learning_rate=2e-3),
    ),
    (partial(read_by_student, answer=practice), _pretraining(20_000, STUDENT_TURN)),
    (student_answer, _pretraining(15_000, STUDENT_TURN, peak_learning_rate=1e-3)),
)


def _stream(held: Held) -> Callable[[str, Sequence[str]], Iterator[Problem]]:
    return lambda seed, turn: problem_stream(seed, held, turn)


def build_teacher(held: Held, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Train the teacher and its tokenizer from scratch."""
    rng = random.Random(f"teacher-tokenizer/{seed}")
    problems = islice(problem_stream(f"teacher-tokenizer/{seed}", held), N_TOKENIZER_DOCUMENTS)
    tokenizer = train_teacher_tokenizer(f"{p.question}\n{teacher_answer(p, rng)}" for p in problems)
    torch.manual_seed(seed)
    model = new_teacher(tokenizer)
    train_in_stages(model, tokenizer, TEACHER_STAGES, _stream(held), f"teacher/{seed}", Muon)
    sharpen(model, SHARPNESS)
    return model, tokenizer


def build_student(held: Held, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Train the base student and its tokenizer from scratch.

    The tokenizer has read the teacher's wording too, as one of general text has.
    """
    rng = random.Random(f"student-tokenizer/{seed}")
    problems = islice(problem_stream(f"student-tokenizer/{seed}", held), N_TOKENIZER_DOCUMENTS)
    tokenizer = train_student_tokenizer(
        f"{p.question}\n{teacher_answer(p, rng) if n % 2 else student_answer(p, rng)}"
        for n, p in enumerate(problems)
    )
    torch.manual_seed(seed)
    model = new_student(tokenizer)
    train_in_stages(model, tokenizer, STUDENT_STAGES, _stream(held), f"student/{seed}", Muon)
    return model, tokenizer


def build(out: Path, seed: int, keep_models: bool) -> list[str]:
    """Write questions, models and manifest under `out`; returns properties that were missed."""
    problems = evaluation_problems(seed)
    write_rows(out, drops(seed), problems)
    models: Models = {}
    for name, build_model in MODELS.items():
        folder = out / "models" / name
        if not keep_models:
            save(*build_model(Held(problems), seed), folder)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
        models[name] = model, tokenizer
    asked = [problem for group in problems.values() for problem in group]
    measured, properties = measure(models, asked, summary)
    manifest = {
        "seed": seed,
        "parameters": {name: model.num_parameters() for name, (model, _) in models.items()},
        "measured": measured,
        "properties": {
            name: {"value": value, "limits": LIMITS.get(name)} for name, value in properties.items()
        },
        "missed": missed(properties),
        "files": file_hashes(out),
    }
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return missed(properties)


def main() -> None:
    """Command line of the build."""
    parser = argparse.ArgumentParser(description="Build the small world from a seed.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads for training")
    parser.add_argument(
        "--keep-models",
        action="store_true",
        help="measure the models that are in the folder instead of training new ones",
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if names := build(arguments.out, arguments.seed, arguments.keep_models):
        print(f"outside their limits: {', '.join(names)} (see {MANIFEST})")


MODELS = {"teacher": build_teacher, "student": build_student}

if __name__ == "__main__":
    main()
