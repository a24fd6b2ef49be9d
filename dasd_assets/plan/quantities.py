"""The quantities a plan reckons with, each with where it comes from.

An option of the command goes before what an earlier run measured, that before what a GPU check
measured, that before the profile's section `plan`, that before an assumption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dasd_assets.plan.flops import FORWARD, TokenFlops, token_flops, training_passes
from dasd_assets.plan.gpu_check import GpuFigures
from dasd_assets.plan.measured import Measured, Totals, ratio
from dasd_assets.profile import ModelShape, PlanSettings, Profile
from dasd_assets.profile.plan import Work
from resources.engines.settings import OpenAiSettings
from training.settings import Training

OPTION, MEASURED, PROFILE = "option", "measured", "profile"
DERIVED = "share_of_peak x peak / FLOP of a token"
DERIVED_OF_MATMUL = "share_of_matmul x matmul / FLOP of a token"

BASE_STUDENT = "base_student"

PROMPT_TOKENS = 200.0
SENTENCE_TOKENS = 20.0


@dataclass(frozen=True)
class Quantity:
    """One number; `value` is None where nobody knows it."""

    name: str
    value: float | None
    unit: str
    source: str

    def known(self) -> float:
        """The value of a quantity that always has one."""
        assert self.value is not None, self.name
        return self.value


class Quantities:
    """Every quantity of one plan; `used` lists those that were asked for, in that order."""

    def __init__(
        self,
        profile: Profile,
        options: PlanSettings,
        measured: Measured,
        teacher: ModelShape | None,
        student: ModelShape | None,
        others: Mapping[str, ModelShape | None] | None = None,
        gpu: GpuFigures | None = None,
    ) -> None:
        """Settle nothing yet.

        Args:
            profile: its section `plan` holds what its user states.
            options: what was given on the command line, in the same form.
            measured: of earlier materializations with this profile.
            teacher, student: sizes of the models; None: no speed is derived from FLOP.
            others: further student -> its size.
            gpu: what was measured of the GPU.
        """
        self._gpu = gpu
        self._teacher = teacher
        self._students = {BASE_STUDENT: student, **(others or {})}
        self._profile = profile
        self._options = options
        self._measured = measured
        self._used: dict[str, Quantity] = {}
        self._flops: dict[str, TokenFlops] = {}

    @property
    def used(self) -> list[Quantity]:
        """Quantities that the plan has asked for."""
        return list(self._used.values())

    @property
    def flops(self) -> list[TokenFlops]:
        """FLOP of a token, of all work whose speed is derived from it."""
        return list(self._flops.values())

    def totals(self, asset: str, part: str = "") -> Totals:
        """What was measured of an asset; zeros if nothing was."""
        return self._measured.get((asset, part), Totals(0))

    def prompt_tokens(self) -> float:
        """Of a rendered question."""
        return self._stated(
            "mean_prompt_tokens", "tokens", None, PROMPT_TOKENS, "assumed: a paragraph"
        ).known()  # fmt: skip

    def sentence_tokens(self) -> float:
        """Of a sentence of an answer."""
        return self._stated(
            "mean_sentence_tokens", "tokens", None, SENTENCE_TOKENS, "assumed: as in English prose"
        ).known()  # fmt: skip

    def answer_tokens(self, temperature: str, domain: str) -> float:
        """Of the teacher's answer at one temperature; what was measured is of all domains."""
        option, stated = (
            settings.mean_answer_tokens.get(temperature)
            for settings in (self._options, self._profile.plan)
        )
        totals = self.totals("teacher_responses", temperature)
        measured = ratio(totals.tokens, totals.rows)
        name = f"mean_answer_tokens.{temperature}"
        if isinstance(option or measured or stated, dict):
            name += f".{domain}"
        return self._settled(
            name, "tokens", _of_domain(option, domain), measured, _of_domain(stated, domain),
            self._profile.teacher_responses.max_tokens / 2, "assumed: half of max_tokens",
        ).known()  # fmt: skip

    def kept_share(self, temperature: str) -> float:
        """Of the answers at one temperature that pass the filters."""
        kept = self.totals("filtered_responses", temperature).rows
        sampled = self.totals("teacher_responses", temperature).rows
        return self._settled(
            f"kept_share.{temperature}", "", self._options.kept_share, ratio(kept, sampled),
            self._profile.plan.kept_share, 1.0, "assumed: every answer, an upper bound",
        ).known()  # fmt: skip

    def truncated_share(self) -> float:
        """Of the rollouts that hit their cap."""
        rollouts = self.totals("student_rollouts")
        return self._stated(
            "truncated_share", "", ratio(rollouts.truncated, rollouts.rows),
            15_000 / 50_000, "assumed: the paper's 15K of 50K",
        ).known()  # fmt: skip

    def evaluation_tokens(self, otherwise: float) -> float:
        """Of the student's answer to an evaluation question."""
        return self._stated(
            "mean_evaluation_tokens", "tokens", None,
            otherwise, "assumed: as long as the teacher's at the high temperature",
        ).known()  # fmt: skip

    def packing_efficiency(self) -> float:
        """Share of the positions of packed sequences that hold tokens."""
        return self._stated(
            "packing_efficiency", "",
            self.totals("low_temperature_checkpoint").packing_efficiency or None,
            1.0, "assumed: no position is wasted",
        ).known()  # fmt: skip

    def gpu_price(self) -> float | None:
        """Price of one GPU for one hour."""
        return self._stated("price_per_gpu_hour", "per GPU-hour", None, None, "not given").value

    def benchmark_questions(self, benchmark: str, found: int | None) -> int:
        """Questions of an evaluation set: its file's, else what the profile says, else 100."""
        if found is not None:
            return found
        return int(
            self._settled(
                f"benchmark_questions.{benchmark}", "questions", None, None,
                self._profile.plan.benchmark_questions.get(benchmark),
                100, "assumed: the file is not here",
            ).known()
        )  # fmt: skip

    def row_tokens(self, asset: str, part: str, otherwise: float) -> float:
        """Tokens of a row of an asset for which neither options nor profile state any."""
        totals = self.totals(asset, part)
        measured = ratio(totals.tokens, totals.rows)
        if measured is None:
            return otherwise
        name = f"tokens_per_answer ({_work(asset, part)})"
        return self._settled(name, "tokens", None, measured, None, None, "").known()

    def rate(
        self, kind: Work, asset: str, part: str, context: float, student: str = BASE_STUDENT
    ) -> float | None:
        """Tokens per second of one GPU (of one run, where it has none).

        Args:
            kind: teacher, student or scoring.
            asset: whose earlier runs tell.
            context: tokens that a token looks back at on average.
            student: which one, where it is no work of the teacher.
        """
        compute = self._profile.compute
        gpus = (compute.teacher_inference if kind == "teacher" else compute.student_inference).gpus
        unit = f"tokens/s per {'GPU' if gpus else 'run'}"
        return self._speed(kind, asset, part, unit, max(1, gpus), FORWARD, context, student)

    def training_rate(
        self, asset: str, training: Training, context: float, student: str = BASE_STUDENT
    ) -> float | None:
        """Tokens per second that one training process works off."""
        return self._speed(
            "training", asset, "", "tokens/s per process", training.processes,
            training_passes(training), context, student,
        )  # fmt: skip

    def _speed(
        self, kind: Work, asset: str, part: str, unit: str, gpus: int, passes: int, context: float,
        student: str,
    ) -> float | None:  # fmt: skip
        """Given, measured, stated, or from FLOP, which grow with the context."""
        name = f"{kind}_tokens_per_second"
        option, stated = (getattr(s, name) for s in (self._options, self._profile.plan))
        measured = self.totals(asset, part).tokens_per_second
        derived = None
        teacher = self._profile.teacher
        if kind == "teacher" and teacher and isinstance(teacher.engine, OpenAiSettings):
            stated = None  # a profile's figures are of its GPUs; a server's are not ours to count
        elif not (option or measured) and (self._is_checked(kind) or not stated):
            derived = self._derived(kind, _work(asset, part), passes, context, student)
            stated = None if derived else stated
        return self._settled(
            f"{name} ({_work(asset, part)})" if measured or derived else name, unit,
            option, measured / gpus if measured else None, stated, derived,
            "not given" if not derived else
            DERIVED_OF_MATMUL if self._is_checked(kind) else DERIVED,
        ).value  # fmt: skip

    def _derived(
        self, kind: Work, work: str, passes: int, context: float, student: str
    ) -> float | None:
        shape = self._teacher if kind == "teacher" else self._students[student]
        if shape is None:
            return None
        if self._gpu and kind in self._gpu.shares:
            source = f"gpu-check: {self._gpu.name}"
            matmul, of_matmul = self._gpu.matmul_flops_per_second, self._gpu.shares[kind]
            for name, unit, value in (
                ("matmul_flops_per_second", "FLOP/s", matmul),
                (f"share_of_matmul.{kind}", "", of_matmul),
            ):
                self._settled(name, unit, None, None, None, value, source)
            reached = of_matmul * matmul
        elif (stated := self._profile.plan.share_of_peak.get(kind)) is not None:
            share = self._settled(f"share_of_peak.{kind}", "", None, None, stated, None, "").known()
            reached = (
                share * self._stated("peak_flops_per_second", "FLOP/s", None, None, "").known()
            )
        else:
            return None
        flops = self._flops.setdefault(work, token_flops(work, shape, context, passes))
        return reached / flops.total

    def _is_checked(self, kind: Work) -> bool:
        return self._gpu is not None and kind in self._gpu.shares

    def _stated(
        self, name: str, unit: str, measured: float | None, otherwise: float | None, why: str
    ) -> Quantity:
        """A quantity whose name is a setting of the section `plan`."""
        option, stated = (getattr(s, name) for s in (self._options, self._profile.plan))
        return self._settled(name, unit, option, measured, stated, otherwise, why)

    def _settled(
        self,
        name: str,
        unit: str,
        option: float | None,
        measured: float | None,
        stated: float | None,
        otherwise: float | None,
        why: str,
    ) -> Quantity:
        origin = self._profile.plan.origin.get(name.partition(".")[0])
        candidates: Mapping[str, float | None] = {
            OPTION: option, MEASURED: measured,
            f"{PROFILE}: {origin}" if origin else PROFILE: stated, why: otherwise,
        }  # fmt: skip
        source = next((key for key, value in candidates.items() if value is not None), why)
        quantity = Quantity(name, candidates[source], unit, source)
        return self._used.setdefault(name, quantity)


def _work(asset: str, part: str) -> str:
    return f"{asset} {part}".strip()


def _of_domain(stated: float | Mapping[str, float] | None, domain: str) -> float | None:
    return stated.get(domain) if isinstance(stated, Mapping) else stated
