"""What happened in a run and what to try: a table of rules over measured facts.

A rule has a condition, which gives the numbers of each case in which it holds, a sentence that says
what was found with these numbers, and an advice. The limits of the conditions are the constants of
`conditions.py`; docs/evaluation.md lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from dasd_assets.reporting import conditions
from dasd_assets.reporting.run_facts import RunFacts

Condition = Callable[[RunFacts], Iterable[Mapping[str, Any]]]

NOTHING_FOUND: Final = "No rule of the diagnosis holds: nothing here asks for a change."


@dataclass(frozen=True)
class Rule:
    """One line of the table; both texts are format strings over what the condition gives."""

    name: str
    condition: Condition
    finding: str
    advice: str


@dataclass(frozen=True)
class Finding:
    """A rule that held."""

    rule: str
    finding: str
    advice: str


RULES: Final = (
    Rule(
        "stage_lost", conditions.stage_lost,
        "{checkpoint} is worse than {before}: {accuracy[1]:.1%} of its answers are right, before "
        "{accuracy[0]:.1%} ({points:+.1f} points, interval {low:+.1f} to {high:+.1f}, "
        "{p}, {n_questions:,} questions).",
        "Release the better one: `release.checkpoint: best`, or `{before}` by name. What else is "
        "found here says where to look for the cause.",
    ),
    Rule(
        "wrong_training_answers", conditions.wrong_training_answers,
        "{wrong:.0%} of the answers that {name} (T = {sampled_at:g}) gives to training are wrong: "
        "{right:.0%} of {judged:,} judged ones are right; by domain {by_domain}.",
        "Set `response_filtering.verify_domains: [{domains}]`: wrong answers are rejected then.",
    ),
    Rule(
        "temperature_brings_errors", conditions.temperature_brings_errors,
        "{high:.0%} of the answers at {name} (T = {sampled_at:g}) are right, {low:.0%} of those at "
        "{other} (T = {other_sampled_at:g}): the higher temperature brings errors, not only other "
        "ways to be right.",
        "Lower `teacher_responses.temperatures.{name}`, or take the wrong answers out: "
        "`response_filtering.verify_domains: [{domains}]`.",
    ),
    Rule(
        "selection_prefers_errors", conditions.selection_prefers_errors,
        "Of the answers chosen at {name}, {chosen:.0%} of {n_chosen:,} are right, of a random "
        "sample of as many tokens {at_random:.0%} of {n_at_random:,}: what the student would "
        "not have said is more often wrong.",
        "Set `response_filtering.verify_domains: [{domains}]`, or compare the policies with "
        "`dasd compare-policies` (`divergence_sampling.policy`).",
    ),
    Rule(
        "sample_far_from_student", conditions.sample_far_from_student,
        "The base student gives a token of the sample at {name} {p_student:.2f} on average, the "
        "teacher {p_teacher:.2f}: {factor:.1f} times as much.",
        "Train longer on it (`temperature_scheduled_learning.epochs`), or choose answers nearer to "
        "the student (`divergence_sampling.policy`). If the factor is very large, look whether the "
        "student's chat template and format are the right ones (`dasd doctor`).",
    ),
    Rule(
        "mixed_policy_lost", conditions.mixed_policy_lost,
        "{share:.0%} of the answers that {checkpoint} was trained on begin with what the student "
        "wrote itself and did not finish, and there is a loss on it.",
        "Try `mixed_policy_distillation.mask_student_prefix: true`, or more of "
        "`off_policy_samples`.",
    ),
    Rule(
        "answers_grew", conditions.answers_grew,
        "Answers of {checkpoint} are {growth:.2f} times as long as those of {before} "
        "({tokens[1]:,.0f} tokens, before {tokens[0]:,.0f}), and not better.",
        "Look at the lengths of its training answers in this report; the policy "
        "`divergence_count` prefers long ones, `divergence_sampling.length_strata` balances them.",
    ),
    Rule(
        "more_cut_off", conditions.more_cut_off,
        "{truncated[1]:.1%} of the answers of {checkpoint} hit their cap, {truncated[0]:.1%} of "
        "those of {before}.",
        "Raise `evaluation.benchmarks.*.max_tokens` to see whether they come to an end; if they "
        "do not, see loops and the lengths of the training answers.",
    ),
    Rule(
        "loops_taken_over", conditions.loops_taken_over,
        "{share:.1%} of the answers of {checkpoint} repeat themselves until they are cut off "
        "({n:,} of {of:,}), {share_before:.1%} of those of {before}.",
        "Lower `response_filtering.max_ngram_repeats` and `max_sentence_repeats`, so that no loop "
        "is learnt from; fewer epochs help as well.",
    ),
    Rule(
        "loss_still_falls", conditions.loss_still_falls,
        "The loss of {checkpoint} was still falling at the end: {last:.3f} in the last fifth of "
        "its steps, {before_last:.3f} in the fifth before ({errors:.1f} standard errors).",
        "Train longer: `{setting}.epochs`.",
    ),
    Rule(
        "loss_rose", conditions.loss_rose,
        "The loss of {checkpoint} rose: {last:.3f} in the last fifth of its steps, {first:.3f} in "
        "the first ({errors:.1f} standard errors).",
        "Lower `{setting}.learning_rate`, or look whether its last samples differ from its first.",
    ),
    Rule(
        "trained_on_evaluation_set", conditions.trained_on_evaluation_set,
        "{n:,} questions of the training sets share {shared_words} consecutive words with a "
        "question of {benchmark}: its score is too good.",
        "Materialize `questions` and all below again; curation rejects them.",
    ),
    Rule(
        "evaluation_set_was_delivered", conditions.evaluation_set_was_delivered,
        "{n:,} delivered questions share {shared_words} consecutive words with a question of "
        "{benchmark}, which has {of:,}. They were rejected; the same in other words was not.",
        "Do not rest a judgement on {benchmark} alone, or leave out the source that has it "
        "(`dasd sql \"FROM rejected_questions WHERE reason = 'contaminated'\"`).",
    ),
    Rule(
        "too_few_questions", conditions.too_few_questions,
        "{n_questions:,} questions cannot tell {checkpoint} from {before}: {points:+.1f} points, "
        "interval {low:+.1f} to {high:+.1f}.",
        "About {needed:,} questions would tell a difference of {least:g} points: add evaluation "
        "sets (`evaluation.benchmarks`); more answers each (`samples_per_question`) help less.",
    ),
)  # fmt: skip


def diagnose(facts: RunFacts, rules: Sequence[Rule] = RULES) -> list[Finding]:
    """What was found, in the order of the table; empty if no rule holds."""
    return [
        Finding(rule.name, rule.finding.format(**case), rule.advice.format(**case))
        for rule in rules
        for case in rule.condition(facts)
    ]


def render_findings(findings: Sequence[Finding]) -> str:
    """The findings as plain text for a terminal."""
    if not findings:
        return NOTHING_FOUND
    return "\n".join(f"- {each.finding}\n  → {each.advice}" for each in findings)


def markdown_findings(findings: Sequence[Finding]) -> str:
    """The same as a Markdown list."""
    if not findings:
        return NOTHING_FOUND
    return "\n".join(f"- **{each.finding}** {each.advice}" for each in findings)
