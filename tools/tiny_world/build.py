"""Rebuilds everything that `tiny_world/` ships, from a seed.

    python -m tools.tiny_world.build --out tiny_world --seed 0

Questions and tokenizers come out byte for byte the same everywhere. Weights depend on the
order of floating-point sums, hence on the machine and its number of threads; the manifest
records what was measured on those that are shipped.
"""

from __future__ import annotations

import argparse
import hashlib
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
    GenerationConfig,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from tools.tiny_world.corpus import (
    STUDENT_EARLY_TEACHER_WORDING_SHARE,
    STUDENT_EARLY_WRONG_SHARE,
    STUDENT_LATE_TEACHER_WORDING_SHARE,
    STUDENT_LATE_WRONG_SHARE,
    clean_teacher_answer,
    problem_stream,
    student_answer,
    teacher_answer,
)
from tools.tiny_world.drawing import Held, Q, write_rows
from tools.tiny_world.measuring import sample, summary
from tools.tiny_world.models import new_student, new_teacher
from tools.tiny_world.pretraining import NewMuon, Pretraining, draw_documents, pretrain
from tools.tiny_world.problems import Problem
from tools.tiny_world.questions import drops, evaluation_problems
from tools.tiny_world.tokenizers import train_student_tokenizer, train_teacher_tokenizer

# What is read in turn, and how: skills first, habits (styles, noise, flaws) last.
Stage = tuple[Callable[[Problem, random.Random], str], Pretraining]
TEACHER_TURN = (
    "math", "instruction_following", "science", "math", "instruction_following",
    "math", "code", "science", "math", "instruction_following",
)  # fmt: skip
TEACHER_STAGES: tuple[Stage, ...] = (
    (clean_teacher_answer, Pretraining(90_000, TEACHER_TURN, final_learning_rate=3e-4)),
    (teacher_answer, Pretraining(20_000, TEACHER_TURN, peak_learning_rate=1.5e-3)),
)
STUDENT_STAGES: tuple[Stage, ...] = (
    (
        partial(student_answer, wrong_share=STUDENT_EARLY_WRONG_SHARE),
        Pretraining(n_documents=46_000, final_learning_rate=5e-4),
    ),
    (
        partial(
            student_answer,
            wrong_share=STUDENT_EARLY_WRONG_SHARE,
            teacher_wording_share=STUDENT_EARLY_TEACHER_WORDING_SHARE,
        ),
        Pretraining(n_documents=30_000, peak_learning_rate=2e-3, final_learning_rate=3e-4),
    ),
    (
        partial(
            student_answer,
            wrong_share=STUDENT_LATE_WRONG_SHARE,
            teacher_wording_share=STUDENT_LATE_TEACHER_WORDING_SHARE,
        ),
        Pretraining(n_documents=8_000, peak_learning_rate=1e-3),
    ),
)
N_TOKENIZER_DOCUMENTS = 8_000
N_MEASURED_SAMPLES = 4
MANIFEST = "MANIFEST.json"


def train_in_stages(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    stages: Sequence[tuple[Callable[[Q, random.Random], str], Pretraining]],
    stream: Callable[[str, Sequence[str]], Iterator[Q]],
    name: str,
    muon: NewMuon = torch.optim.Muon,
) -> None:
    """Train the model in place, one stage after the other, on freshly drawn documents.

    Args:
        stream: seed and turn -> endless problems.
    """
    for number, (answer, settings) in enumerate(stages, start=1):
        stage = f"{name}/{number}"
        problems = list(islice(stream(f"questions/{stage}", settings.turn), settings.n_documents))
        documents = draw_documents(tokenizer, answer, problems, stage)
        pretrain(model, documents, model.config.pad_token_id, settings, stage, muon)


def _stream(held: Held) -> Callable[[str, Sequence[str]], Iterator[Problem]]:
    return lambda seed, turn: problem_stream(seed, held, turn)


def build_teacher(held: Held, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Train the teacher and its tokenizer from scratch."""
    rng = random.Random(f"teacher-tokenizer/{seed}")
    problems = islice(problem_stream(f"teacher-tokenizer/{seed}", held), N_TOKENIZER_DOCUMENTS)
    tokenizer = train_teacher_tokenizer(f"{p.question}\n{teacher_answer(p, rng)}" for p in problems)
    torch.manual_seed(seed)
    model = new_teacher(tokenizer)
    train_in_stages(model, tokenizer, TEACHER_STAGES, _stream(held), f"teacher/{seed}")
    return model, tokenizer


def build_student(held: Held, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """Train the base student and its tokenizer from scratch.

    Both see a share of the teacher's wording too, as models of general text do.
    """
    rng = random.Random(f"student-tokenizer/{seed}")
    early_answer = STUDENT_STAGES[0][0]
    problems = islice(problem_stream(f"student-tokenizer/{seed}", held), N_TOKENIZER_DOCUMENTS)
    tokenizer = train_student_tokenizer(
        f"{p.question}\n{teacher_answer(p, rng) if n % 5 == 0 else early_answer(p, rng)}"
        for n, p in enumerate(problems)
    )
    torch.manual_seed(seed)
    model = new_student(tokenizer)
    train_in_stages(model, tokenizer, STUDENT_STAGES, _stream(held), f"student/{seed}")
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


def measure(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    problems: dict[str, list[Problem]],
    temperatures: tuple[float, ...],
) -> dict[str, Any]:
    """What `measuring.summary` says per temperature, over several samples per question."""
    questions = [problem for group in problems.values() for problem in group]
    return {
        str(temperature): summary(
            sample(model, tokenizer, questions * N_MEASURED_SAMPLES, temperature, seed=0)
        )
        for temperature in temperatures
    }


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


def build(out: Path, seed: int, keep_models: bool) -> None:
    """Write questions, models and manifest under `out`."""
    write_questions(out, seed)
    problems = evaluation_problems(seed)
    held = Held(problems)
    manifest: dict[str, Any] = {"seed": seed, "parameters": {}, "measured": {}}
    for name, (build_model, temperatures) in MODELS.items():
        folder = out / "models" / name
        if not keep_models:
            save(*build_model(held, seed), folder)
        model = AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=False)
        tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
        manifest["parameters"][name] = model.num_parameters()
        manifest["measured"][name] = measure(model, tokenizer, problems, temperatures)
    manifest["files"] = file_hashes(out)
    (out / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Command line of the build."""
    parser = argparse.ArgumentParser(description="Rebuild the tiny world from a seed.")
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
    build(arguments.out, arguments.seed, arguments.keep_models)


MODELS = {"teacher": (build_teacher, (0.6, 1.0)), "student": (build_student, (1.0,))}

if __name__ == "__main__":
    main()
