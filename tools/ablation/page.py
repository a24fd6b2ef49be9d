"""The page docs/results.md, written from the numbers; its last section is a person's."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from dasd_assets.profile import Profile
from dasd_assets.reporting.figures import to_png, words
from formats.pages import markdown_table
from tools.ablation.arms import BASE, CLAIMS, EVALUATED_AT, LOOKED_INTO, STAGES, Arm
from tools.ablation.findings import VERDICTS, finding, interval, p_text, points, summary
from tools.ablation.plots import arm_dots, difference_dots, stage_bars
from tools.ablation.results import ArmResult, Compared, arm_results, compared
from tools.ablation.statistics import Effect, difference
from tools.ablation.steps import Step, record

if TYPE_CHECKING:
    from resources.lake.lake import Lake

HAND_WRITTEN: Final = "<!-- Below this line a person writes; `tools.ablation` leaves it alone. -->"
NOTHING_YET: Final = "\n\n## Why\n\nNobody has looked into it yet.\n"


@dataclass(frozen=True)
class Found:
    """What came out at one temperature of the answers."""

    results: Mapping[str, ArmResult]
    claims: Sequence[Compared]
    looked_into: Sequence[Compared]

    @property
    def stages(self) -> list[ArmResult]:
        """The pipeline as the paper has it, as far as it was run."""
        return [self.results[name] for name in STAGES if name in self.results]

    @property
    def labels(self) -> dict[str, str]:
        """Arm -> how it is called."""
        return {name: result.label for name, result in self.results.items()}


def found_at(
    temperature: float, store: Lake, profile: Profile, steps: Sequence[Step], arms: Sequence[Arm]
) -> Found:
    """Results and comparisons of the answers at that temperature."""
    settings = profile.evaluation
    results = arm_results(
        store, steps, arms, list(settings.benchmarks), temperature, settings.confidence
    )
    claims, looked_into = (
        compared(results, table, settings.confidence) for table in (CLAIMS, LOOKED_INTO)
    )
    return Found(results, claims, looked_into)


def write_page(
    out: Path, store: Lake, profile: Profile, steps: Sequence[Step], arms: Sequence[Arm]
) -> list[str]:
    """Write the page and its pictures; what a person wrote at the end of an older one is kept.

    Args:
        steps: of all seeds, all of them finished.

    Returns:
        The findings, a line each.
    """
    images = out.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    by_temperature = {t: found_at(t, store, profile, steps, arms) for t in EVALUATED_AT}
    lines = []
    for temperature, found in by_temperature.items():
        for name, figure in {
            "arms": arm_dots(list(found.results.values())),
            "differences": difference_dots(found.claims, found.labels),
            "stages": stage_bars(found.stages),
        }.items():
            (images / _picture(name, temperature)).write_bytes(to_png(figure))
        lines += [f"T = {temperature:g}:", *map(finding, [*found.claims, *found.looked_into])]
        lines += ["", summary(found.claims), ""]
    n_seeds = len({step.seed for step in steps})
    generated = render(by_temperature, arms, profile, runs=_runs(store, steps), n_seeds=n_seeds)
    out.write_text(generated + HAND_WRITTEN + by_hand(out), encoding="utf-8")
    return lines[:-1]


def _picture(name: str, temperature: float) -> str:
    return f"results-{name}-{temperature:g}.png"


def render(
    by_temperature: Mapping[float, Found],
    arms: Sequence[Arm],
    profile: Profile,
    *,
    runs: str,
    n_seeds: int,
) -> str:
    """The generated part of the page.

    Args:
        by_temperature: of the answers.
    """
    settings = profile.evaluation
    any_results = next(iter(by_temperature.values())).results
    n_questions = sum(values.shape[1] for values in any_results[BASE].accuracies.values())
    n_tests = sum(len(found.claims) for found in by_temperature.values())
    parts = (
        _at(temperature, found, arms, settings.confidence)
        for temperature, found in by_temperature.items()
    )
    return f"""# The paper's claims, tried in small

Written by `make ablation` (--seeds {n_seeds}) as found; only the last section
is written by a person. Profile `{profile.name}`, {n_seeds} seeds, {n_questions} questions in
{len(settings.benchmarks)} evaluation sets with {settings.samples_per_question} answers each at
each temperature and each seed. {runs}

The models are tiny and know a handful of kinds of questions. What shows here need not show at 4B
parameters, and what does not show here is no evidence against the paper. What was to be tried, and
which differences so many seeds and questions can tell from 0, was [written down
before](small-world.md#the-ablation-stated-beforehand). {n_tests} claims are tested and the p-values
are not corrected for it: with no effect anywhere, {n_tests * (1 - settings.confidence):.1f} of the
intervals would exclude 0.

{"".join(parts)}## What is compared with what

- A seed is added to the profile's seeds of selection (random draws, and which of equally ranked
  answers go first), training (order of the samples), rollouts, cuts, continuations and evaluation.
  Within a seed all arms answer the same questions with the same request seeds, and arms that share
  a stage share its checkpoint.
- *By count* is the method: the answers with the most Teacher Sentences. *By share* and *longest*
  choose from the same candidates under a budget of as many tokens. *At random* is the random
  control of `divergence_sample`, with as many tokens in each domain.
- *High* and *low* have the profile's budgets; where they are compared with each other, the high
  sample is a divergence-aware one with as many tokens as the low one.
- *Double high* is one training on one divergence-aware sample of the high temperature, with as many
  tokens as the low and the high sample together: as many as *low → high* sees in its two stages.
- *Off-policy only* goes on from the same checkpoint as *mixed*, with the same settings and as many
  tokens, all of them from the two divergence-aware samples.
- *Masked* takes no loss on the student's own prefix; the tokens are the same.

## How chance is measured

Seeds and questions are both drawn, and crossed. The squared standard error of a mean, or of a
paired difference, is the one over seeds plus the one over questions (within each evaluation set).
That is Clark's min F' (1973) with Satterthwaite's degrees of freedom, and errs on the wide side.
*p* is for other seeds and other questions; *p seeds* (a paired t test over the seeds) takes the
questions as given, *p questions* (over the questions' means) takes the seeds as given.
A claim is called shown when its interval lies above 0, and by no other rule.

"""


def _at(temperature: float, found: Found, arms: Sequence[Arm], confidence: float) -> str:
    """What was found at one temperature of the answers."""
    labels = found.labels
    return f"""## Answers at T = {temperature:g}

{summary(found.claims)}

{_findings("the paper says", found.claims, labels)}

![Paired differences at T = {temperature:g}](images/{_picture("differences", temperature)})

Not in the paper, but looked into:

{_findings("it might be that", found.looked_into, labels)}

### Arms

{_arms(found.results, arms, labels)}

Means over the seeds. *Right* is the share of the sample's answers that their grader finds right
(the paper has no such rule, and nothing here filters by it), *Teacher Sentences* their mean number
in an answer. Accuracy is the mean over the evaluation sets with its {confidence:.0%} interval.

![Accuracy of every arm at T = {temperature:g}](images/{_picture("arms", temperature)})

### Stages

{_stages(found.stages, confidence)}

Right answers in %; below the mean over the sets, the gain over the row above in points.

![Accuracy after each stage at T = {temperature:g}](images/{_picture("stages", temperature)})

"""


def _findings(first: str, comparisons: Iterable[Compared], labels: Mapping[str, str]) -> str:
    rows = [
        (
            each.comparison.claim,
            f"{labels[each.comparison.better]} − {labels[each.comparison.worse]}",
            points(each.effect.value), interval(each.effect), p_text(each.effect.p_value),
            p_text(each.effect.p_seeds), p_text(each.effect.p_questions),
            VERDICTS[each.effect.verdict],
        )
        for each in comparisons
    ]  # fmt: skip
    headers = (first, "compared", "points", "interval", "p", "p seeds", "p questions",
               "in small")  # fmt: skip
    return markdown_table(headers, rows)


def _arms(results: Mapping[str, ArmResult], arms: Sequence[Arm], labels: Mapping[str, str]) -> str:
    starts = {arm.name: labels[arm.starts_from] for arm in arms}
    rows = [
        (
            result.label,
            starts.get(name, "–"),
            _mean(result, "n_samples", ",.0f"),
            _mean(result, "n_tokens", ",.0f"),
            _mean(result, "right_share", ".1%"),
            _mean(result, "n_teacher_sentences", ".1f"),
            _mean(result, "steps", ",.0f"),
            _accuracy(result.mean),
            f"{result.mean_tokens:.0f}",
            f"{result.truncated_share:.1%}",
        )
        for name, result in results.items()
    ]
    headers = ("arm", "starts from", "samples", "tokens", "right", "Teacher Sentences", "steps",
               "accuracy", "tokens per answer", "cut off")  # fmt: skip
    return markdown_table(headers, rows)


def _mean(result: ArmResult, name: str, form: str) -> str:
    return format(result.training[name], form) if name in result.training else "–"


def _stages(stages: Sequence[ArmResult], confidence: float) -> str:
    rows = []
    for before, stage in zip([None, *stages], stages, strict=False):
        gain = difference(stage.accuracies, before.accuracies, confidence) if before else None
        rows.append(
            (
                stage.label,
                *(f"{100 * found.value:.1f}" for found in stage.by_benchmark.values()),
                _accuracy(stage.mean),
                f"{points(gain.value)} ({interval(gain)}, p {p_text(gain.p_value)})"
                if gain
                else "–",
            )
        )
    names = [words(name) for name in stages[0].by_benchmark]
    return markdown_table(("checkpoint", *names, "mean", "gain"), rows)


def _accuracy(found: Effect) -> str:
    return f"{100 * found.value:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})"


def _runs(store: Lake, steps: Sequence[Step]) -> str:
    """Commit, libraries, processor time: as the steps noted them."""
    records = [record(store, step) or {} for step in steps]
    commits = " and ".join(sorted({f"`{made['commit']}`" for made in records}))
    libraries = sorted({f"{name} {version}" for made in records
                        for name, version in made["libraries"].items()})  # fmt: skip
    hours = sum(made["seconds"] for made in records) / 3600
    return (
        f"Commit {commits}; Python {platform.python_version()}, {', '.join(libraries)}; "
        f"{len(records)} steps of one core each, {hours:.1f} hours together, "
        f"on {os.cpu_count()} cores."
    )


def by_hand(out: Path) -> str:
    """What a person wrote at the end of an older page."""
    text = out.read_text(encoding="utf-8") if out.is_file() else ""
    return text.partition(HAND_WRITTEN)[2] or NOTHING_YET
