"""Requests, rows, tokens, hours, disk and money of every asset, from a profile and quantities.

Everything is a plain product of them and of counts, stage by stage in the order of the data's way:
what one stage makes is what the next one starts from. docs/plan.md has the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from dasd_assets.plan.asset_plan import AssetPlan
from dasd_assets.plan.disk import checkpoint_bytes, row_bytes
from dasd_assets.plan.measured import ratio
from dasd_assets.plan.quantities import Quantities
from dasd_assets.plan.sizes import Sizes
from dasd_assets.profile import ModelShape, Profile
from resources.compute.declared import Compute
from resources.engines.settings import OpenAiSettings
from resources.lake.tables.evaluation import CHECKPOINTS
from training.settings import Training

MEAN_CUT = 0.75
"""A rollout is cut uniformly beyond half of it."""
MEAN_CONTINUATION = 0.5
"""Of an answer's length; nothing tells how long a continuation is."""


class Estimate:
    """Walks through the graph of one profile."""

    def __init__(
        self,
        profile: Profile,
        sizes: Sizes,
        quantities: Quantities,
        student: ModelShape | None,
        n_shards: int,
    ) -> None:
        """Prepare the walk.

        Args:
            student: size of the base student; unknown: checkpoints take no disk.
            n_shards: question shards, announced ones included.
        """
        self._profile = profile
        self._sizes = sizes
        self._quantities = quantities
        self._student = student
        self._n_shards = n_shards
        self._sampled = profile.teacher_responses.temperatures
        self._selected = {t: self._sample_rows(t) for t in self._sampled}

    def assets(self) -> Iterator[AssetPlan]:
        """All assets with rows of their own, in the order they are made in."""
        yield from self._questions()
        for temperature in self._sampled:
            yield from self._responses(temperature)
        for temperature, rows in self._selected.items():
            yield self._data(
                "divergence_sample",
                rows,
                1,
                temperature,
                self._quantities.answer_tokens(temperature),
            )
        training = self._profile.temperature_scheduled_learning
        for stage in ("low", "high"):
            yield self._training(
                f"{stage}_temperature_checkpoint", training, self._selected[stage],
                self._quantities.answer_tokens(stage),
            )  # fmt: skip
        yield from self._mixed_policy()
        yield from self._evaluation()

    def _questions(self) -> Iterator[AssetPlan]:
        yield self._data("raw_questions", self._sizes.rows, self._n_shards)
        yield self._data("questions", self._sizes.questions, self._n_shards)
        for benchmark in self._profile.evaluation.benchmarks:
            yield self._data("benchmark_questions", self._benchmark(benchmark), 1, benchmark)

    def _responses(self, temperature: str) -> Iterator[AssetPlan]:
        quantities, n_shards = self._quantities, self._n_shards
        prompt, answer = quantities.prompt_tokens(), quantities.answer_tokens(temperature)
        asked = self._n_asked(temperature)
        yield self._model(
            "teacher_responses", "teacher", temperature, n_shards, asked, prompt, answer
        )
        kept = self._n_kept(temperature)
        yield self._data("filtered_responses", kept, n_shards, temperature, answer)
        yield self._model("student_scores", "scoring", temperature, n_shards, kept, prompt, answer)
        measured = quantities.totals("sentence_provenance", temperature).rows
        per_answer = ratio(measured, quantities.totals("filtered_responses", temperature).rows)
        sentences = round(kept * (per_answer or answer / quantities.sentence_tokens()))
        yield self._data("sentence_provenance", sentences, n_shards, temperature)

    def _mixed_policy(self) -> Iterator[AssetPlan]:
        settings, quantities = self._profile.mixed_policy_distillation, self._quantities
        prompt = quantities.prompt_tokens()
        n_selected = sum(self._selected.values())
        answer = sum(
            rows * quantities.answer_tokens(t) for t, rows in self._selected.items()
        ) / max(1, n_selected)  # fmt: skip
        rollouts = min(settings.rollout_questions, self._sizes.questions, n_selected)
        share = quantities.truncated_share()
        cut_off = settings.cap_ratio * answer
        rollout = (1 - share) * answer + share * cut_off
        yield self._model(
            "student_rollouts", "student", "", self._n_shards, rollouts, prompt,
            quantities.row_tokens("student_rollouts", "", rollout),
        )  # fmt: skip
        continued = round(rollouts * share)
        prefix = MEAN_CUT * cut_off
        added = quantities.row_tokens("teacher_continuations", "", MEAN_CONTINUATION * answer)
        yield self._model(
            "teacher_continuations", "teacher", "", self._n_shards, continued, prompt + prefix,
            added,
        )  # fmt: skip
        finished = round(continued * quantities.kept_share("high"))
        off_policy = min(settings.off_policy_samples, n_selected)
        rows = finished + off_policy
        mean = (finished * (prefix + added) + off_policy * answer) / max(1, rows)
        yield self._data("mixed_policy_sample", rows, 1, "", mean)
        yield self._training("dasd_checkpoint", settings.training, rows, mean)
        yield self._released("model_release", 0, self._weights(settings.training))
        yield self._released("dataset_release", n_selected + rows, self._training_sets(rows, mean))

    def _evaluation(self) -> Iterator[AssetPlan]:
        settings, quantities = self._profile.evaluation, self._quantities
        answer = quantities.evaluation_tokens(quantities.answer_tokens("high"))
        for checkpoint in CHECKPOINTS:
            asset = f"evaluation/{checkpoint}"
            for benchmark, limits in settings.benchmarks.items():
                tokens = quantities.row_tokens(asset, benchmark, min(answer, limits.max_tokens))
                yield self._model(
                    asset, "student", benchmark, 1,
                    self._benchmark(benchmark) * settings.samples_per_question,
                    quantities.prompt_tokens(), tokens,
                )  # fmt: skip

    def _benchmark(self, name: str) -> int:
        return self._quantities.benchmark_questions(name, self._sizes.benchmarks.get(name))

    def _n_asked(self, temperature: str) -> int:
        return (
            self._sizes.questions
            * self._profile.teacher_responses.samples_per_question[temperature]
        )

    def _n_kept(self, temperature: str) -> int:
        return round(self._n_asked(temperature) * self._quantities.kept_share(temperature))

    def _sample_rows(self, temperature: str) -> int:
        settings = self._profile.divergence_sampling
        per_question = min(
            settings.max_answers_per_question,
            self._profile.teacher_responses.samples_per_question[temperature],
        )
        unit, budget = settings.budget(temperature)
        if unit == "tokens":
            budget = math.floor(budget / self._quantities.answer_tokens(temperature))
        return min(budget, self._n_kept(temperature), self._sizes.questions * per_question)

    def _data(
        self, asset: str, rows: int, partitions: int, part: str = "", answer_tokens: float = 0.0
    ) -> AssetPlan:
        totals = self._quantities.totals(asset, part)
        seconds = ratio(totals.seconds, totals.rows)
        return AssetPlan(
            asset, part, partitions, 0, rows, 0.0, 0.0, 0,
            rows * seconds / 3600 if seconds else None, 0.0,
            self._table_bytes(asset, part, rows, answer_tokens),
        )  # fmt: skip

    def _model(
        self, asset: str, kind: str, part: str, partitions: int, rows: int,
        prompt_tokens: float, tokens_per_row: float,
    ) -> AssetPlan:  # fmt: skip
        """Work of a model: sampled by the teacher or the student, or scored by the student."""
        compute = self._profile.compute
        declared = compute.teacher_inference if kind == "teacher" else compute.student_inference
        rate = self._quantities.rate(kind, asset, part)
        prompts, tokens = rows * prompt_tokens, rows * tokens_per_row
        beside = rows * self._quantities.totals(asset, part).seconds_beside_model
        hours = (tokens / (rate * max(1, declared.gpus)) + beside) / 3600 if rate else None
        return AssetPlan(
            asset, part, partitions, rows, rows, prompts, tokens, declared.gpus, hours,
            self._money(declared, hours) if kind != "teacher" else self._asked(
                declared, hours, prompts, tokens
            ),
            self._table_bytes(asset, part, rows, tokens_per_row),
        )  # fmt: skip

    def _training(
        self, asset: str, training: Training, rows: int, answer_tokens: float
    ) -> AssetPlan:
        per_epoch = rows * (self._quantities.prompt_tokens() + answer_tokens)
        positions = training.max_length * self._quantities.packing_efficiency()
        steps = training.epochs * math.ceil(
            math.ceil(per_epoch / positions) / training.global_batch_size
        )
        rate = self._quantities.training_rate(asset, training)
        tokens = per_epoch * training.epochs
        hours = tokens / (rate * training.processes) / 3600 if rate else None
        declared = self._profile.compute.training
        return AssetPlan(
            asset, "", 1, 0, rows, 0.0, tokens, declared.gpus, hours,
            self._money(declared, hours), self._weights(training), steps,
        )  # fmt: skip

    def _weights(self, training: Training) -> float:
        return checkpoint_bytes(self._student.parameters, training) if self._student else 0.0

    def _training_sets(self, mixed_rows: int, mixed_tokens: float) -> float:
        """Bytes of the samples, with the teacher's tokens and the sentences where released."""
        prompt = self._quantities.prompt_tokens()
        total = mixed_rows * row_bytes("mixed_policy_sample", prompt, mixed_tokens)
        for temperature, rows in self._selected.items():
            answer = self._quantities.answer_tokens(temperature)
            total += rows * row_bytes("divergence_sample", prompt, answer)
            if self._profile.release.include_logprobs:
                sentences = answer / self._quantities.sentence_tokens()
                total += rows * (
                    row_bytes("teacher_responses", prompt, answer)
                    + sentences * row_bytes("sentence_provenance", prompt, 0.0)
                )
        return total

    def _released(self, asset: str, rows: int, n_bytes: float) -> AssetPlan:
        return AssetPlan(asset, "", 1, 0, rows, 0.0, 0.0, 0, None, 0.0, n_bytes)

    def _asked(
        self, declared: Compute, hours: float | None, prompts: float, tokens: float
    ) -> float | None:
        """Money of asking the teacher: a server's by its prices, else that of the GPUs."""
        engine = self._profile.teacher.engine
        if not isinstance(engine, OpenAiSettings):
            return self._money(declared, hours)
        price = (
            prompts * engine.price_per_million_prompt_tokens
            + tokens * engine.price_per_million_completion_tokens
        )
        return price / 1e6 or None

    def _money(self, declared: Compute, hours: float | None) -> float | None:
        if not declared.gpus:
            return 0.0
        price = self._quantities.gpu_price()
        return None if price is None or hours is None else price * hours * declared.gpus

    def _table_bytes(self, asset: str, part: str, rows: int, answer_tokens: float) -> float:
        totals = self._quantities.totals(asset, part)
        table = asset.split("/")[0]
        plain = row_bytes(table, self._quantities.prompt_tokens(), answer_tokens)
        return rows * (ratio(totals.n_bytes, totals.rows) or plain)
