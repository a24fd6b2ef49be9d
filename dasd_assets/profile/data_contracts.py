"""What must hold of every asset's data: the checks by asset, with meaning and default limits.

A check measures numbers (one per partition, domain, table or metric, as the description says) and
holds them against a lowest and a highest allowed value. `checks/` has the code that measures; the
profile's section `checks` changes limits and severities; docs/data-contracts.md shows it all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

Severity = Literal["warn", "error"]


@dataclass(frozen=True)
class Contract:
    """One check on one asset, with its defaults."""

    name: str
    description: str
    """What is measured, and against what."""
    minimum: float | None = None
    maximum: float | None = None
    severity: Severity = "error"
    blocking: bool = False
    """A failed check with severity `error` stops everything below the partition."""


def _stops(
    name: str, description: str, maximum: float | None = 0, *, minimum: float | None = None
) -> Contract:
    """Bad data must not go on."""
    return Contract(name, description, minimum, maximum, blocking=True)


def _warns(
    name: str, description: str, *, minimum: float | None = None, maximum: float | None = None
) -> Contract:
    """Worth a look; the data may go on."""
    return Contract(name, description, minimum, maximum, severity="warn")


MATCHES_CONTRACT = _stops(
    "matches_contract",
    "Columns of each table whose name, type or nullability is not that of resources/lake/tables.",
)
NO_NULLS = _stops(
    "no_nulls", "Nulls in required columns, and columns of ids or texts that have an empty value."
)
UNIQUE_IDS = _stops("unique_ids", "Rows whose id was there before in the partition.")
DRIFT = _warns(
    "drift",
    "Change of row count (relative), means (relative) and shares (absolute) since the partition "
    "was made before; if it never was, means and shares against the median of the other "
    "partitions of its kind. Fewer than 20 rows are not compared.",
    maximum=0.25,
)
TABLE: Final = (MATCHES_CONTRACT, NO_NULLS, UNIQUE_IDS, DRIFT)

KNOWN_DOMAINS = _stops("known_domains", "Rows of a domain that the profile does not have.")
KNOWN_QUESTIONS = _stops("known_questions", "Rows whose question_id is not upstream.")
WITHIN_CONTEXT = _stops(
    "within_context", "Rows with more student tokens than response_filtering.max_student_tokens."
)
POSITIVE_WEIGHTS = _stops(
    "positive_weights", "Samples whose weight in the training loss is no finite number above 0."
)
_ONE_LOGPROB = "Answers without exactly one finite logprob per token."
_MEAN_LOGPROB = (
    "Mean logprob of all tokens; 0 means that none were measured, far below that the tokens are "
    "not those of the text."
)
_PROBABILITIES_IN_RANGE = _stops(
    "probabilities_in_range", "Sentences with a probability outside 0 to 1."
)
_FEW_UNSCORED = _warns(
    "few_unscored",
    "Share of the sentences with no token on one side, in answers whose probabilities are known.",
    maximum=0.2,
)
_TRUNCATED = "Share of the answers that hit max_tokens."


def _logprobs(*, blocking: bool, lowest_mean: float) -> tuple[Contract, ...]:
    """Sanity of token logprobs; where a filter still follows, a bad row is no reason to stop."""
    judged = _stops if blocking else _warns
    return (
        judged("one_logprob_per_token", _ONE_LOGPROB, maximum=0),
        judged(
            "logprobs_not_positive",
            "Largest logprob; rounding may bring a certain token just above 0.",
            maximum=1e-4,
        ),
        _warns("mean_logprob", _MEAN_LOGPROB, minimum=lowest_mean, maximum=-1e-6),
    )


_CERTIFICATE_HOLDS = _stops(
    "certificate_holds",
    "Checks of the batch certificate that do not hold; one that is missing counts as one.",
)
_TRAINING_SET: Final = (
    _CERTIFICATE_HOLDS,
    _stops(
        "same_samples", "Samples of the sample that are not in the set once, or more than there."
    ),
    POSITIVE_WEIGHTS,
    MATCHES_CONTRACT,
    NO_NULLS,
    UNIQUE_IDS,
)
_CHECKPOINT: Final = (
    _CERTIFICATE_HOLDS,
    _stops(
        "nothing_cut",
        "Samples of the training set that are not in the packed batches whole, with end token.",
    ),
    _stops("finite_loss", "Logged losses that are not finite; a log without losses counts as one."),
)
_LOSS_FELL = _warns(
    "loss_fell",
    "Loss at the end over the loss at the start, each the mean of a fifth of the log.",
    maximum=1.0,
)
_LOSS_NOT_RISEN = _warns(
    "loss_not_risen",
    "By how many standard errors the loss of the last fifth of the log is above that of the first: "
    "what starts from a trained model need not fall, and rises by chance.",
    maximum=3.0,
)

_RELEASE: Final = (
    _stops(
        "checksums_hold", "Files of the release that are not as SHA256SUMS says, missing or extra."
    ),
    _stops(
        "loads",
        "What would go wrong in loading it: of a model configuration, tokenizer, chat template and "
        "each tensor the architecture needs; of a data set columns and rows of each configuration.",
    ),
    _stops("card_complete", "Sections and metadata fields that its card lacks."),
)

CONTRACTS: Final[dict[str, tuple[Contract, ...]]] = {
    "raw_questions": (
        _stops("has_usable_rows", "Rows of the drop that can be used.", None, minimum=1),
        _warns("few_quarantined", "Share of the drop's rows in quarantine.", maximum=0.05),
        KNOWN_DOMAINS,
        *TABLE,
    ),
    "benchmark_questions": (
        _stops("not_empty", "Questions of the evaluation set.", None, minimum=1),
        KNOWN_DOMAINS,
        *TABLE,
    ),
    "questions": (
        _stops(
            "unique_in_all_shards", "Questions that are twice here, or in another shard as well."
        ),
        _stops("none_lost", "Delivered rows that are neither a question nor a reject, or both."),
        _stops("not_contaminated", "Questions that share an n-gram with an evaluation question."),
        KNOWN_DOMAINS,
        _warns("few_rejected", "Share of the delivered rows that curation rejects.", maximum=0.5),
        _warns(
            "domain_balance", "Share of each domain in the questions of all shards.", minimum=0.02
        ),
        MATCHES_CONTRACT,
        NO_NULLS,
        DRIFT,
    ),
    "imported_answers": (
        _warns(
            "few_quarantined",
            "Share of the drop's answers in quarantine; a row of tokens without an answer counts.",
            maximum=0.05,
        ),
        *_logprobs(blocking=True, lowest_mean=-5.0),
        *TABLE,
    ),
    "teacher_responses": (
        _stops(
            "all_answered",
            "Answers more or fewer than the profile asks for; of imported ones, the answers that "
            "are no imported answer, or not to a question of the shard.",
        ),
        _stops(
            "raw_logprobs",
            "Answers whose logprobs are not the teacher's own at temperature 1 (`raw_logprobs`).",
        ),
        *_logprobs(blocking=False, lowest_mean=-5.0),
        KNOWN_QUESTIONS,
        _warns("few_truncated", _TRUNCATED, maximum=0.2),
        _warns(
            "top_logprobs_hold",
            "Answers without teacher_responses.top_logprobs likely tokens for each of theirs, or "
            "whose are not finite, above 0, out of order, more than 1 in all, or not in line with "
            "the emitted token's logprob. Only where they are asked for.",
            maximum=0,
        ),
        *TABLE,
    ),
    "filtered_responses": (
        _stops("none_lost", "Answers that are neither kept nor rejected, or both."),
        _stops("every_reject_has_a_rule", "Rejected answers that name no rule that they break."),
        *_logprobs(blocking=True, lowest_mean=-5.0),
        KNOWN_QUESTIONS,
        WITHIN_CONTEXT,
        _warns("most_kept", "Share of the answers that keep all rules.", minimum=0.5),
        _warns("domain_balance", "Share of each domain's answers that is kept.", minimum=0.2),
        _warns(
            "few_repetitive", "Share of the answers rejected for repeating themselves.", maximum=0.2
        ),
        *TABLE,
    ),
    "student_scores": (
        _stops("every_response_scored", "Filtered responses without score, or scores without one."),
        *_logprobs(blocking=True, lowest_mean=-10.0),
        _stops("ranks_from_one", "Smallest rank of a token under the student.", None, minimum=1),
        _stops("one_student", "Revisions of the student that gave the scores.", 1),
        *TABLE,
    ),
    "teacher_scores": (
        _stops("every_response_scored", "Filtered responses without a row, or the other way."),
        *_logprobs(blocking=True, lowest_mean=-10.0),
        _warns(
            "few_left_out",
            "Share of the responses without logprobs that the teacher was not asked about.",
            maximum=0.05,
        ),
        *TABLE,
    ),
    "sentence_provenance": (
        _PROBABILITIES_IN_RANGE,
        _stops("every_response_classified", "Filtered responses without provenance, or the other."),
        _stops("counts_add_up", "Responses whose sentences by class do not sum to n_sentences."),
        _warns(
            "has_teacher_sentences",
            "Teacher Sentences. Without any, divergence_sampling.rule is too strict, or the "
            "student is as good: the details have the distribution of p_teacher - p_student.",
            minimum=1,
        ),
        _stops("sentences_in_order", "Sentences that are empty or overlap the one before."),
        _FEW_UNSCORED,
        *TABLE,
    ),
    "divergence_sample": (
        _stops("not_empty", "Selected responses.", None, minimum=1),
        _warns("budget_met", "Size of the selection over the budget.", minimum=0.99, maximum=1.0),
        _stops(
            "answers_per_question", "Questions with more selected answers than the profile allows."
        ),
        _stops(
            "known_responses", "Samples that are no filtered response, or no selected candidate."
        ),
        _stops(
            "no_shard_lost",
            "Registered question_shards whose answers were scored at this temperature, but are "
            "gone from the lake or were not chosen from.",
        ),
        _warns(
            "shards_ready",
            "Question_shards that the sample lacks, as their answers are not all there and scored, "
            "and names in `exclude_shards` that are none's.",
            maximum=0,
        ),
        _warns(
            "no_removed_drops",
            "Samples of drops that are no more in the inbox.",
            maximum=0,
        ),
        KNOWN_QUESTIONS,
        WITHIN_CONTEXT,
        POSITIVE_WEIGHTS,
        _stops("mean_weight", "Mean weight of the samples.", minimum=0.999, maximum=1.001),
        _warns(
            "domain_balance",
            "Distance of each domain's share of the sample (in the budget's unit) from the share "
            "it should have.",
            maximum=0.05,
        ),
        _warns(
            "control_budget",
            "Tokens of the random and of the longest control over those of the selection.",
            minimum=0.95,
            maximum=1.0,
        ),
        *TABLE,
    ),
    "student_rollouts": (
        _stops("within_cap", "Rollouts longer than their cap, or with a cap above cap_ratio x the "
               "teacher's length."),
        _stops("known_responses", "Rollouts whose response_id is in no divergence sample, or of "
               "another length there."),
        _warns("few_rejected", "Share of the rollouts that cannot be used (`broken_rules`).",
               maximum=0.05),
        *_logprobs(blocking=False, lowest_mean=-10.0),
        _warns(
            "truncation_rate",
            "Share of the rollouts that hit their cap: only these are continued. At 0 nothing is, "
            "at 1 the caps or the student are broken.",
            minimum=0.01,
            maximum=0.9,
        ),
        *TABLE,
    ),
    "teacher_continuations": (
        _stops("every_truncated_continued", "Usable truncated rollouts without exactly one "
               "continuation, and continuations of others."),
        _stops("cut_in_range", "Cuts before min_cut_fraction of the rollout, or behind its end."),
        *_logprobs(blocking=False, lowest_mean=-5.0),
        _warns("few_truncated", _TRUNCATED, maximum=0.2),
        *TABLE,
    ),
    "mixed_policy_sample": (
        _stops(
            "has_mixed_policy", "Answers that student and teacher wrote together.", None, minimum=1
        ),
        _stops("prefix_within_text", "Student prefixes that do not end inside the response."),
        _stops("none_lost", "Continuations that are neither in the sample nor rejected, or both."),
        _stops("known_samples", "Samples that are no continuation and no divergence sample."),
        _stops(
            "distinct_questions",
            "Off-policy samples to a question that a mixed-policy sample is to, unless the profile "
            "allows it.",
        ),
        KNOWN_QUESTIONS,
        WITHIN_CONTEXT,
        POSITIVE_WEIGHTS,
        _warns(
            "budget_met", "Off-policy samples over what the profile asks for.",
            minimum=0.99, maximum=1.0,
        ),
        _warns("few_rejected", "Share of the continuations that are rejected.", maximum=0.5),
        _warns("few_repetitive", "Share rejected for repeating themselves.", maximum=0.2),
        _warns("domain_balance", "Share of each domain of the questions.", minimum=0.01),
        *TABLE,
    ),
    "evaluation": (
        _stops("all_answered", "Questions of the set without exactly k answers."),
        _stops("all_graded", "Answers without a verdict: the grader could not use the question's "
               "reference, or its judge gave none."),
        KNOWN_QUESTIONS,
        _warns("few_truncated", _TRUNCATED, maximum=0.2),
        _warns(
            "few_without_answer",
            "Share of the answers without a final part, of those that came to their end.",
            maximum=0.2,
        ),
        *TABLE,
    ),
    "evaluation_teacher_scores": (
        *_logprobs(blocking=True, lowest_mean=-10.0),
        _warns("few_left_out", "Share of the answers that were not scored.", maximum=0.2),
        *TABLE,
    ),
    "evaluation_provenance": (
        _PROBABILITIES_IN_RANGE,
        _FEW_UNSCORED,
        *TABLE,
    ),
    "low_temperature_training_set": _TRAINING_SET,
    "high_temperature_training_set": _TRAINING_SET,
    "student_training_set": _TRAINING_SET,
    "mixed_policy_training_set": _TRAINING_SET,
    "low_temperature_checkpoint": (*_CHECKPOINT, _LOSS_FELL),
    "high_temperature_checkpoint": (*_CHECKPOINT, _LOSS_FELL),
    "student_checkpoint": (*_CHECKPOINT, _LOSS_FELL),
    "dasd_checkpoint": (*_CHECKPOINT, _LOSS_NOT_RISEN),
    "model_release": _RELEASE,
    "dataset_release": (
        *_RELEASE,
        _stops(
            "kept_responses",
            "Rows whose answer is no kept response or continuation, or that are there twice.",
        ),
        _stops("not_contaminated", "Questions that share an n-gram with an evaluation question."),
    ),
}  # fmt: skip
"""Asset -> its checks. Of the assets below `evaluation/`, `evaluation_teacher_scores/` and
`evaluation_provenance/` those of all checkpoints have the same, as have those of all students below
`student_training_set/` and `student_checkpoint/`."""
