"""Requests, rows, tokens, hours, disk and money of every asset, from a profile and quantities.

Everything is a plain product of them and of counts, stage by stage in the order of the data's way:
what one stage makes is what the next one starts from. docs/plan.md has the formulas.
"""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace

from dasd_assets.plan.answers import Answers, Candidates
from dasd_assets.plan.asset_plan import AssetPlan
from dasd_assets.plan.disk import TOKEN_BYTES, checkpoint_bytes, row_bytes, top_bytes
from dasd_assets.plan.measured import ratio
from dasd_assets.plan.quantities import BASE_STUDENT, Quantities
from dasd_assets.plan.sizes import Sizes
from dasd_assets.profile import ModelShape, Profile
from dasd_assets.profile.checkpoints import checkpoints_of
from dasd_assets.profile.plan import Work
from resources.compute.declared import Compute
from resources.engines.settings import OpenAiSettings
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
        candidates: Mapping[str, Candidates],
        student: ModelShape | None,
        n_shards: int,
        others: Mapping[str, ModelShape | None] | None = None,
    ) -> None:
        """Prepare the walk.

        Args:
            candidates: temperature -> answers to the questions.
            student: size of the base student; unknown: checkpoints take no disk.
            n_shards: question shards, announced ones included.
            others: further student -> its size.
        """
        self._profile = profile
        self._sizes = sizes
        self._quantities = quantities
        self._students = {BASE_STUDENT: student, **(others or {})}
        self._n_shards = n_shards
        self._candidates = candidates
        self._selected = {t: answers.selected for t, answers in candidates.items()}

    def assets(self) -> Iterator[AssetPlan]:
        """All assets with rows of their own, in the order they are made in."""
        yield from self._questions()
        for temperature, answers in self._candidates.items():
            yield from self._responses(temperature, answers)
        for temperature, sample in self._selected.items():
            yield self._data(
                "divergence_sample", sample.n_rows, 1, temperature, sample.mean_tokens
            )  # fmt: skip
        training = self._profile.temperature_scheduled_learning
        for stage in ("low", "high"):
            yield self._packed(f"{stage}_temperature_training_set", self._selected[stage])
            yield self._training(f"{stage}_temperature_checkpoint", training, self._selected[stage])
        for name in self._profile.students:
            yield self._packed(f"student_training_set/{name}", self._selected["low"])
            yield self._training(
                f"student_checkpoint/{name}", self._profile.student_training(name),
                self._selected["low"], name,
            )  # fmt: skip
        mixed, last = (0, 0.0), training
        if not self._profile.no_mixed_policy:
            mixed = yield from self._mixed_policy()
            last = self._profile.mixed_policy.training
        if not self._profile.no_release:
            n_rows = mixed[0] + sum(sample.n_rows for sample in self._selected.values())
            yield self._released("model_release", 0, self._weights(last))
            yield self._released("dataset_release", n_rows, self._training_sets(*mixed))
        yield from self._evaluation()
        if self._profile.no_evaluation_provenance is None:
            for checkpoint in checkpoints_of(self._profile)[1:]:
                yield from self._own_answers(checkpoint)

    def _questions(self) -> Iterator[AssetPlan]:
        yield self._data("raw_questions", self._sizes.rows, self._n_shards)
        yield self._data("questions", self._sizes.questions, self._n_shards)
        for benchmark in self._profile.evaluation.benchmarks:
            yield self._data("benchmark_questions", self._benchmark(benchmark), 1, benchmark)

    def _responses(self, temperature: str, answers: Candidates) -> Iterator[AssetPlan]:
        quantities, n_shards = self._quantities, self._n_shards
        prompt, kept = quantities.prompt_tokens(), answers.kept
        if self._profile.teacher:
            yield self._model(
                "teacher_responses", "teacher", temperature, n_shards, answers.asked, prompt
            )
        else:  # all are brought along
            asked = answers.asked
            yield self._data(
                "teacher_responses", asked.n_rows, n_shards, temperature, asked.mean_tokens
            )
        mean = kept.mean_tokens
        yield self._data("filtered_responses", kept.n_rows, n_shards, temperature, mean)
        yield self._model("student_scores", "scoring", temperature, n_shards, kept, prompt)
        measured = quantities.totals("sentence_provenance", temperature).rows
        per_answer = ratio(measured, quantities.totals("filtered_responses", temperature).rows)
        sentences = round(kept.n_rows * (per_answer or mean / quantities.sentence_tokens()))
        yield self._data("sentence_provenance", sentences, n_shards, temperature)

    def _mixed_policy(self) -> Generator[AssetPlan, None, tuple[int, float]]:
        """Stage 3; gives the rows of its training set, and their mean tokens."""
        settings, quantities = self._profile.mixed_policy, self._quantities
        prompt = quantities.prompt_tokens()
        n_selected = sum(sample.n_rows for sample in self._selected.values())
        n_tokens = sum(sample.n_tokens for sample in self._selected.values())
        answer = n_tokens / max(1, n_selected)
        rollouts = min(settings.rollout_questions, self._sizes.questions, n_selected)
        share = quantities.truncated_share()
        cut_off = settings.cap_ratio * answer
        rollout = (1 - share) * answer + share * cut_off
        length = quantities.row_tokens("student_rollouts", "", rollout)
        yield self._model(
            "student_rollouts", "student", "", self._n_shards, Answers.alike(rollouts, length),
            prompt,
        )  # fmt: skip
        continued = round(rollouts * share)
        prefix = MEAN_CUT * cut_off
        added = quantities.row_tokens("teacher_continuations", "", MEAN_CONTINUATION * answer)
        yield self._model(
            "teacher_continuations", "teacher", "", self._n_shards,
            Answers.alike(continued, added), prompt + prefix,
        )  # fmt: skip
        finished = round(continued * quantities.kept_share("high"))
        off_policy = min(settings.off_policy_samples, n_selected)
        rows = finished + off_policy
        mean = (finished * (prefix + added) + off_policy * answer) / max(1, rows)
        yield self._data("mixed_policy_sample", rows, 1, "", mean)
        yield self._packed("mixed_policy_training_set", Answers.alike(rows, mean))
        yield self._training("dasd_checkpoint", settings.training, Answers.alike(rows, mean))
        return rows, mean

    def _evaluation(self) -> Iterator[AssetPlan]:
        settings = self._profile.evaluation
        evaluated = dict.fromkeys(checkpoints_of(self._profile), BASE_STUDENT)
        for name in self._profile.students:
            evaluated |= {f"{name}_base": name, name: name}
        for checkpoint, student in evaluated.items():
            asset = f"evaluation/{checkpoint}"
            for benchmark in settings.benchmarks:
                answers = self._answers(asset, benchmark, settings.samples_per_question)
                prompt = self._quantities.prompt_tokens()
                yield self._model(asset, "student", benchmark, 1, answers, prompt, student)

    def _own_answers(self, checkpoint: str) -> Iterator[AssetPlan]:
        """A checkpoint's answers, scored by the teacher, then by the base student."""
        settings, quantities = self._profile.evaluation, self._quantities
        looked_at = min(settings.provenance.answers_per_question, settings.samples_per_question)
        prompt = quantities.prompt_tokens()
        scores = f"evaluation_teacher_scores/{checkpoint}"
        for benchmark in settings.benchmarks:
            answers = self._answers(scores, benchmark, looked_at)
            scored = self._model(scores, "teacher", benchmark, 1, answers, prompt)
            # A server has given tokens in the prompt, and samples one.
            sent = scored.prompt_tokens + scored.tokens
            declared = self._profile.compute.teacher_inference
            money = self._asked(declared, scored.hours, sent, scored.requests)
            yield replace(scored, money=money)
        asset = f"evaluation_provenance/{checkpoint}"
        for benchmark in settings.benchmarks:
            answers = self._answers(f"evaluation/{checkpoint}", benchmark, looked_at)
            of_sentence = quantities.sentence_tokens()
            measured = quantities.totals(asset, benchmark).rows
            per_answer = ratio(measured, quantities.totals(scores, benchmark).rows)
            rows = round(answers.n_rows * (per_answer or answers.mean_tokens / of_sentence))
            yield self._model(asset, "scoring", benchmark, 1, answers, prompt, rows=rows)

    def _answers(self, asset: str, benchmark: str, per_question: int) -> Answers:
        """Answers to an evaluation set, of their measured or stated length."""
        answer = self._quantities.evaluation_tokens(self._candidates["high"].asked.mean_tokens)
        longest = self._profile.evaluation.benchmarks[benchmark].max_tokens
        tokens = self._quantities.row_tokens(asset, benchmark, min(answer, longest))
        return Answers.alike(self._benchmark(benchmark) * per_question, tokens)

    def _benchmark(self, name: str) -> int:
        return self._quantities.benchmark_questions(name, self._sizes.benchmarks.get(name))

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
        self, asset: str, kind: Work, part: str, partitions: int, answers: Answers,
        prompt_tokens: float, student: str = BASE_STUDENT, rows: int | None = None,
    ) -> AssetPlan:  # fmt: skip
        """Work of a model: sampled by the teacher or the student, or scored by the student.

        Args:
            student: which one, where it is no work of the teacher.
            rows: of the table; None: one for each answer.
        """
        compute = self._profile.compute
        declared = compute.teacher_inference if kind == "teacher" else compute.student_inference
        rate = self._quantities.rate(kind, asset, part, answers.context(prompt_tokens), student)
        requests, tokens = answers.n_rows, answers.n_tokens
        rows = requests if rows is None else rows
        prompts = requests * prompt_tokens
        beside = rows * self._quantities.totals(asset, part).seconds_beside_model
        hours = (tokens / (rate * max(1, declared.gpus)) + beside) / 3600 if rate else None
        return AssetPlan(
            asset, part, partitions, requests, rows, prompts, tokens, declared.gpus, hours,
            self._money(declared, hours) if kind != "teacher" else self._asked(
                declared, hours, prompts, tokens
            ),
            self._table_bytes(asset, part, rows, tokens / max(1, rows)),
        )  # fmt: skip

    def _packed(self, asset: str, answers: Answers) -> AssetPlan:
        """A packed training set: a few numbers for each sample, and its tokens."""
        plan = self._data(asset, answers.n_rows, 1)
        tokens = answers.n_rows * self._quantities.prompt_tokens() + answers.n_tokens
        return replace(plan, disk_bytes=plan.disk_bytes + tokens * TOKEN_BYTES)

    def _training(
        self, asset: str, training: Training, answers: Answers, student: str = BASE_STUDENT
    ) -> AssetPlan:
        prompt = self._quantities.prompt_tokens()
        per_epoch = answers.n_rows * prompt + answers.n_tokens
        positions = training.max_length * self._quantities.packing_efficiency()
        steps = training.epochs * math.ceil(
            math.ceil(per_epoch / positions) / training.global_batch_size
        )
        rate = self._quantities.training_rate(asset, training, answers.context(prompt), student)
        tokens = per_epoch * training.epochs
        hours = tokens / (rate * training.processes) / 3600 if rate else None
        declared = self._profile.compute.training
        return AssetPlan(
            asset, "", 1, 0, answers.n_rows, 0.0, tokens, declared.gpus, hours,
            self._money(declared, hours), self._weights(training, student), steps,
        )  # fmt: skip

    def _weights(self, training: Training, student: str = BASE_STUDENT) -> float:
        shape = self._students[student]
        return checkpoint_bytes(shape, training) if shape else 0.0

    def _training_sets(self, mixed_rows: int, mixed_tokens: float) -> float:
        """Bytes of the samples, with the teacher's tokens and the sentences where released."""
        prompt = self._quantities.prompt_tokens()
        total = mixed_rows * row_bytes("mixed_policy_sample", prompt, mixed_tokens)
        for sample in self._selected.values():
            rows, answer = sample.n_rows, sample.mean_tokens
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
        engine = self._profile.teacher and self._profile.teacher.engine
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
        k = self._profile.teacher_responses.top_logprobs if table == "teacher_responses" else 0
        beside = top_bytes(k, answer_tokens) if self._profile.teacher else 0.0
        return rows * ((ratio(totals.n_bytes, totals.rows) or plain) + beside)
