"""The quantities a plan reckons with, each with where it comes from.

An option of the command goes before what an earlier run measured, that before the profile's
section `plan`, that before an assumption.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from dasd_assets.plan.measured import Measured, Totals, ratio
from dasd_assets.profile import PlanSettings, Profile
from resources.engines.settings import OpenAiSettings
from training.settings import Training

OPTION, MEASURED, PROFILE = "option", "measured", "profile"

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

    def __init__(self, profile: Profile, options: PlanSettings, measured: Measured) -> None:
        """Settle nothing yet.

        Args:
            profile: its section `plan` holds what its user states.
            options: what was given on the command line, in the same form.
            measured: of earlier materializations with this profile.
        """
        self._profile = profile
        self._options = options
        self._measured = measured
        self._used: dict[str, Quantity] = {}

    @property
    def used(self) -> list[Quantity]:
        """Quantities that the plan has asked for."""
        return list(self._used.values())

    def totals(self, asset: str, part: str = "") -> Totals:
        """What was measured of an asset; zeros if nothing was."""
        return self._measured.get((asset, part), Totals(0))

    def prompt_tokens(self) -> float:
        """Of a rendered question."""
        return self._stated(
            "mean_prompt_tokens", "tokens", None, PROMPT_TOKENS, "assumed"
        ).known()  # fmt: skip

    def sentence_tokens(self) -> float:
        """Of a sentence of an answer."""
        return self._stated(
            "mean_sentence_tokens", "tokens", None, SENTENCE_TOKENS, "assumed"
        ).known()  # fmt: skip

    def answer_tokens(self, temperature: str) -> float:
        """Of the teacher's answer at one temperature."""
        totals = self.totals("teacher_responses", temperature)
        return self._settled(
            f"mean_answer_tokens.{temperature}", "tokens",
            self._options.mean_answer_tokens.get(temperature),
            ratio(totals.tokens, totals.rows),
            self._profile.plan.mean_answer_tokens.get(temperature),
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
        name = _name("tokens_per_answer", asset, part)
        return self._settled(name, "tokens", None, measured, None, None, "").known()

    def rate(self, kind: str, asset: str, part: str) -> float | None:
        """Tokens per second of one GPU (of one run, where it has none).

        Args:
            kind: teacher, student or scoring.
            asset: whose earlier runs tell.
        """
        name = f"{kind}_tokens_per_second"
        gpus = self._gpus(kind)
        measured = self.totals(asset, part).tokens_per_second
        is_server = kind == "teacher" and isinstance(self._profile.teacher.engine, OpenAiSettings)
        return self._settled(
            _name(name, asset, part) if measured else name,
            f"tokens/s per {'GPU' if gpus else 'run'}",
            getattr(self._options, name),
            measured / max(1, gpus) if measured else None,
            # A profile's quantity is of its GPUs; a server's are not ours to count.
            None if is_server else getattr(self._profile.plan, name),
            None, "not given",
        ).value  # fmt: skip

    def training_rate(self, asset: str, training: Training) -> float | None:
        """Tokens per second that one training process works off."""
        name = "training_tokens_per_second"
        measured = self.totals(asset).tokens_per_second
        return self._settled(
            _name(name, asset, "") if measured else name, "tokens/s per process",
            self._options.training_tokens_per_second,
            measured / training.processes if measured else None,
            self._profile.plan.training_tokens_per_second, None, "not given",
        ).value  # fmt: skip

    def _gpus(self, kind: str) -> int:
        compute = self._profile.compute
        return (compute.teacher_inference if kind == "teacher" else compute.student_inference).gpus

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
        origin = self._profile.plan.origin
        candidates: Mapping[str, float | None] = {
            OPTION: option, MEASURED: measured,
            f"{PROFILE}: {origin}" if origin else PROFILE: stated, why: otherwise,
        }  # fmt: skip
        source = next((key for key, value in candidates.items() if value is not None), why)
        quantity = Quantity(name, candidates[source], unit, source)
        return self._used.setdefault(name, quantity)


def _name(quantity: str, asset: str, part: str) -> str:
    return f"{quantity} ({asset}{f' {part}' if part else ''})"
