"""Answers of one temperature by domain: what is asked for, kept and selected, and how long it is.

Lengths differ from domain to domain, and so does what a sample wants of each: a mean over all
answers would be that of neither.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from dasd_assets.divergence_sampling.quotas import shared_out
from dasd_assets.plan.memory import Finding
from dasd_assets.plan.quantities import Quantities
from dasd_assets.profile import Profile

UNSAID = ""
"""The domain of questions that are only announced as a number."""


@dataclass(frozen=True)
class Answers:
    """So many answers of a mean length, by domain.

    Attributes:
        rows: domain -> answers.
        lengths: domain -> tokens of one.
    """

    rows: Mapping[str, int]
    lengths: Mapping[str, float]

    @classmethod
    def alike(cls, rows: int, length: float) -> Answers:
        """Answers whose domains are of no matter."""
        return cls({UNSAID: rows}, {UNSAID: length})

    @property
    def n_rows(self) -> int:
        """Of all domains."""
        return sum(self.rows.values())

    @property
    def n_tokens(self) -> float:
        """Of all domains."""
        return sum(rows * self.lengths[domain] for domain, rows in self.rows.items())

    @property
    def mean_tokens(self) -> float:
        """Of an answer; of none, the mean over the domains."""
        if not self.n_rows:
            return sum(self.lengths.values()) / max(1, len(self.lengths))
        return self.n_tokens / self.n_rows

    def context(self, prompt_tokens: float) -> float:
        """Tokens that a token looks back at on average: the prompt and half of its own answer.

        Most tokens are of long answers: half of the mean answer would be too little.
        """
        squares = sum(rows * self.lengths[domain] ** 2 for domain, rows in self.rows.items())
        return prompt_tokens + squares / max(1.0, self.n_tokens) / 2


class Candidates:
    """The answers to questions at one temperature, and what of them a budget takes.

    Attributes:
        asked: `samples_per_question` to each question, of each teacher that answers it.
        kept: those that pass the filters.
        selected: the divergence sample.
    """

    def __init__(
        self,
        profile: Profile,
        questions: Mapping[str, int],
        quantities: Quantities,
        temperature: str,
    ) -> None:
        """Reckon them.

        Args:
            questions: domain -> questions.
        """
        self._temperature = temperature
        self._settings = profile.divergence_sampling
        samples = profile.teacher_responses.samples_per_question[temperature]
        self._samples = samples * profile.answerers_per_question
        self._kept_share = quantities.kept_share(temperature)
        self._questions = questions
        lengths = {domain: quantities.answer_tokens(temperature, domain) for domain in questions}
        self.asked = Answers({d: round(n * self._samples) for d, n in questions.items()}, lengths)
        n_kept = round(self.asked.n_rows * self._kept_share)
        self.kept = Answers(shared_out(n_kept, self.asked.rows, self.asked.rows), lengths)
        self.selected = Answers(self._selected_rows(), lengths)

    def findings(self) -> Iterator[Finding]:
        """Where the answers are too few for the budget, or for a domain's share of it."""
        unit, budget = self._settings.budget(self._temperature)
        sizes, there = self._sizes(), sum(self._sizes().values())
        shares = self._settings.domain_shares.get(self._temperature, {})
        wanted = {} if UNSAID in sizes else {d: round(budget * n) for d, n in shares.items() if n}
        missing = [domain for domain in wanted if not sizes.get(domain)]
        for domain in missing:
            yield Finding(
                "problem", "divergence_sampling",
                f"domain_shares.{self._temperature} names {domain}, of which there is no question: "
                "such a sample is refused",
            )  # fmt: skip
        if there < budget:
            yield self._too_few(f"budget_{unit}.{self._temperature}", budget, there, unit)
            return
        for domain, size in sizes.items():
            if domain not in missing and size < wanted.get(domain, 0):
                name = f"domain_shares.{self._temperature}.{domain}"
                yield self._too_few(name, wanted[domain], size, unit)

    def _too_few(self, setting: str, wanted: int, there: int, unit: str) -> Finding:
        return Finding(
            "warning", "divergence_sampling",
            f"{setting} asks for {wanted:,} {unit}, there will be {there:,} ({self._samples:g} "
            f"answer(s) to a question, {self._kept_share:.0%} kept). Ask more questions, set more "
            "samples_per_question, or lower it",
        )  # fmt: skip

    def _allowed_rows(self) -> dict[str, int]:
        """Kept answers, so many of a question as may be selected."""
        limit = self._settings.max_answers_per_question or self._samples
        return {d: min(n, round(self._questions[d] * limit)) for d, n in self.kept.rows.items()}

    def _sizes(self) -> dict[str, int]:
        """What may be selected, in the unit of the budget."""
        rows = self._allowed_rows()
        if self._settings.budget(self._temperature)[0] == "samples":
            return rows
        return {domain: math.ceil(n * self.kept.lengths[domain]) for domain, n in rows.items()}

    def _selected_rows(self) -> dict[str, int]:
        unit, budget = self._settings.budget(self._temperature)
        sizes = self._sizes()
        quotas = shared_out(
            budget, sizes, self._settings.domain_shares.get(self._temperature, sizes)
        )
        if unit == "samples":
            return quotas
        return {domain: int(n / self.kept.lengths[domain]) for domain, n in quotas.items()}
