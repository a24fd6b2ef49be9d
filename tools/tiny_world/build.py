"""Rebuilds everything that `tiny_world/` ships, from a seed.

    python -m tools.tiny_world.build --out tiny_world --seed 0

Questions and tokenizers come out byte for byte the same everywhere. Weights depend on the
order of floating-point sums, hence on the machine and its number of threads; the manifest
records what was measured on those that are shipped, and which of the properties of
docs/small-world.md are missed.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tools.tiny_world.corpus import (
    SHARPNESS,
    one_pass,
    practice,
    problem_stream,
    read_by_student,
    reading,
    student_answer,
    teacher_answer,
)
from tools.tiny_world.drawing import Held, write_rows
from tools.tiny_world.models import new_student, new_teacher, sharpen
from tools.tiny_world.pretraining import Pretraining, draw_documents, pretrain
from tools.tiny_world.problems import Problem
from tools.tiny_world.properties import LIMITS, Models, measure, missed
from tools.tiny_world.questions import drops, evaluation_problems
from tools.tiny_world.tokenizers import train_student_tokenizer, train_teacher_tokenizer

# What is read in turn, and how: to look up first, then to go through a question once, then twice,
# and habits (shares of the ways, flaws, what half-learnt students write) last. A letter that is
# said three times in an answer is copied from before; to look up is learnt where nothing else is.
Stage = tuple[Callable[[Problem, random.Random], str], Pretraining]
TEACHER_TURN = ("math", "science", "code", "math", "instruction_following", "science")
READING = Pretraining(8_000, ("science",), peak_learning_rate=2e-3, final_learning_rate=1e-3)
TEACHER_STAGES: tuple[Stage, ...] = (
    (reading, READING),
    (one_pass, Pretraining(20_000, TEACHER_TURN, final_learning_rate=5e-4)),
    (practice, Pretraining(35_000, TEACHER_TURN)),
    (teacher_answer, Pretraining(20_000, TEACHER_TURN, peak_learning_rate=5e-4)),
)
STUDENT_TURN = ("math", "science", "code", "instruction_following", "science", "math",
                "instruction_following")  # fmt: skip
STUDENT_STAGES: tuple[Stage, ...] = (
    (partial(read_by_student, answer=reading), READING),
    (
        partial(read_by_student, answer=one_pass),
        Pretraining(20_000, STUDENT_TURN, final_learning_rate=5e-4),
    ),
    (partial(read_by_student, answer=practice), Pretraining(25_000, STUDENT_TURN)),
    (student_answer, Pretraining(15_000, STUDENT_TURN, peak_learning_rate=1e-3)),
)
N_TOKENIZER_DOCUMENTS = 8_000
MANIFEST = "MANIFEST.json"


def train_in_stages(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    stages: Sequence[Stage],
    held: Held,
    name: str,
) -> None:
    """Train the model in place, one stage after the other, on freshly drawn documents."""
    for number, (answer, settings) in enumerate(stages, start=1):
        stage = f"{name}/{number}"
        stream = problem_stream(f"questions/{stage}", held, settings.turn)
        problems = list(islice(stream, settings.n_documents))
        documents = draw_documents(tokenizer, answer, problems, stage)
        pretrain(model, documents, model.config.pad_token_id, settings, stage)


def build_teacher(held: Held, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Train the teacher and its tokenizer from scratch."""
    rng = random.Random(f"teacher-tokenizer/{seed}")
    problems = islice(problem_stream(f"teacher-tokenizer/{seed}", held), N_TOKENIZER_DOCUMENTS)
    tokenizer = train_teacher_tokenizer(f"{p.question}\n{teacher_answer(p, rng)}" for p in problems)
    torch.manual_seed(seed)
    model = new_teacher(tokenizer)
    train_in_stages(model, tokenizer, TEACHER_STAGES, held, f"teacher/{seed}")
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
    train_in_stages(model, tokenizer, STUDENT_STAGES, held, f"student/{seed}")
    return model, tokenizer


def save(model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Write the model and tokenizer as a Hugging Face folder that samples by default."""
    model.generation_config = GenerationConfig(
        do_sample=True,
        eos_token_id=model.config.eos_token_id,
        pad_token_id=model.config.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def write_questions(out: Path, seed: int) -> None:
    """Write the drops to `inbox/` and the evaluation sets to `benchmarks/`."""
    write_rows(out, drops(seed), evaluation_problems(seed))


def file_hashes(out: Path) -> dict[str, dict[str, Any]]:
    """SHA-256 and size of every shipped file but the manifest, by path relative to `out`."""
    return {
        path.relative_to(out).as_posix(): {
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
            "bytes": path.stat().st_size,
        }
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != MANIFEST
    }


def _build_model(name: str, seed: int, threads: int, folder: Path) -> None:
    torch.set_num_threads(threads)
    save(*MODELS[name](Held(evaluation_problems(seed)), seed), folder)


def build(out: Path, seed: int, threads: int, keep_models: bool) -> list[str]:
    """Write questions, models and manifest under `out`; returns properties that were missed.

    The two models are trained side by side, each with so many threads.
    """
    folders = {name: out / "models" / name for name in MODELS}
    if not keep_models:
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
            for built in [
                pool.submit(_build_model, name, seed, threads, folder)
                for name, folder in folders.items()
            ]:
                built.result()
    problems = evaluation_problems(seed)
    write_questions(out, seed)
    models: Models = {}
    for name, folder in folders.items():
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        model: Any = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
        models[name] = model, tokenizer
    asked = [problem for group in problems.values() for problem in group]
    measured, properties = measure(models, asked)
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
    parser = argparse.ArgumentParser(description="Rebuild the tiny world from a seed.")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1, help="CPU threads for each model")
    parser.add_argument(
        "--keep-models",
        action="store_true",
        help="measure the models that are in the folder instead of training new ones",
    )
    arguments = parser.parse_args()
    if names := build(arguments.out, arguments.seed, arguments.threads, arguments.keep_models):
        print(f"outside their limits: {', '.join(names)} (see {MANIFEST})")


MODELS = {"teacher": build_teacher, "student": build_student}

if __name__ == "__main__":
    main()
