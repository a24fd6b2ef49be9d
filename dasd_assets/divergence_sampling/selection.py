"""Selection under a budget: ranked per domain, never by a fixed threshold (paper section 4)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.divergence_sampling.policies import POLICIES, random_order
from resources.contracts import DIVERGENCE_CANDIDATES, ContractError

SELECTED = "selected"
OVER_DOMAIN_QUOTA = "over_domain_quota"
OVER_ANSWERS_PER_QUESTION = "over_answers_per_question"

Integers = npt.NDArray[np.int64]


def select(
    responses: pa.Table,
    *,
    policy: str,
    budget_samples: int,
    max_answers_per_question: int,
    domain_shares: dict[str, float] | None,
    seed: int,
) -> pa.Table:
    """Choose the best responses of each domain, and a random control beside them.

    Within a domain, responses are ranked by score; ties are broken by a seeded hash of the id. At
    most k answers to one question are chosen. What a domain cannot fill of its quota goes to the
    others, in proportion to their shares. If the budget is larger than what is available, all that
    is available is chosen.

    The random control is drawn from the same candidates, per domain, with as many answers to a
    question at most. It fills the token count of the domain's selection as far as it can without
    exceeding it: a drawn response that is too long for what is left is passed over.

    Args:
        responses: rows with the schema RESPONSE_PROVENANCE and a column question_shard.
        domain_shares: share of the budget per domain, relative to their sum; None: as the
            candidates have it.

    Returns:
        Table with the schema DIVERGENCE_CANDIDATES: every candidate with score, rank and decision.

    Raises:
        ContractError: there is no candidate at all, or a share names a domain that is not there.
    """
    if not responses.num_rows:
        raise ContractError("divergence_sample: there are no filtered responses to choose from")
    scores = POLICIES[policy](responses, seed)
    lots = random_order(responses, seed)
    domains = np.array(responses["domain"].to_pylist())
    questions = np.unique(responses["question_id"].to_pylist(), return_inverse=True)[1]
    n_tokens = responses["n_student_tokens"].to_numpy()

    order = {name: _ranked(domains == name, scores, lots) for name in np.unique(domains).tolist()}
    allowed = {name: _within(rows, questions, max_answers_per_question)
               for name, rows in order.items()}  # fmt: skip
    available = {name: int(mask.sum()) for name, mask in allowed.items()}
    quotas = _quotas(budget_samples, available, domain_shares)

    rank = np.zeros(len(scores), np.int64)
    decision = np.full(len(scores), OVER_DOMAIN_QUOTA, dtype="U32")
    control = np.zeros(len(scores), bool)
    for name, rows in order.items():
        rank[rows] = np.arange(1, len(rows) + 1)
        decision[rows[~allowed[name]]] = OVER_ANSWERS_PER_QUESTION
        chosen = rows[allowed[name]][: quotas[name]]
        decision[chosen] = SELECTED
        drawn = _ranked(domains == name, lots, lots)
        drawn = drawn[_within(drawn, questions, max_answers_per_question)]
        control[_filling(drawn, n_tokens, int(n_tokens[chosen].sum()))] = True

    return (
        pa.table(
            {
                **{name: responses[name] for name in responses.column_names},
                "policy": pa.array([policy] * len(scores), pa.string()),
                "score": pa.array(scores, pa.float32()),
                "rank": pa.array(rank, pa.int32()),
                "is_selected": pa.array(decision == SELECTED),
                "decision": pa.array(decision.tolist(), pa.string()),
                "is_random_control": pa.array(control),
            }
        )
        .select(DIVERGENCE_CANDIDATES.names)
        .cast(DIVERGENCE_CANDIDATES)
    )


def _ranked(
    members: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.float64],
    lots: npt.NDArray[np.float64],
) -> Integers:
    """Rows of the members, best score first."""
    rows = np.flatnonzero(members)
    return rows[np.lexsort((lots[rows], -scores[rows]))]


def _within(rows: Integers, questions: Integers, most: int) -> npt.NDArray[np.bool_]:
    """Whether each row is among the first `most` of its question, in the order of the rows."""
    by_question = np.argsort(questions[rows], kind="stable")
    ordered = questions[rows][by_question]
    starts = np.r_[True, ordered[1:] != ordered[:-1]] if len(ordered) else np.empty(0, bool)
    first = np.maximum.accumulate(np.where(starts, np.arange(len(ordered)), 0))
    within = np.empty(len(rows), bool)
    within[by_question] = np.arange(len(ordered)) - first < most
    return within


def _filling(rows: Integers, n_tokens: Integers, budget: int) -> Integers:
    """Rows in their order as long as they fit; a row too long for what is left is passed over."""
    taken = []
    while len(rows):
        total = np.cumsum(n_tokens[rows], dtype=np.int64)
        n_fitting = int(np.searchsorted(total, budget, side="right"))
        if n_fitting:
            taken.append(rows[:n_fitting])
            budget -= int(total[n_fitting - 1])
        rows = rows[n_fitting:]
        rows = rows[n_tokens[rows] <= budget]
    return np.concatenate(taken) if taken else rows


def _quotas(
    budget: int, available: dict[str, int], shares: dict[str, float] | None
) -> dict[str, int]:
    """Samples per domain: by share with largest remainders, what is not there handed on."""
    if shares is None:
        shares = {name: float(count) for name, count in available.items()}
    unknown = sorted(name for name in shares if shares[name] > 0 and name not in available)
    if unknown:
        raise ContractError(
            f"divergence_sampling.domain_shares names {', '.join(unknown)}, but there are only "
            f"responses of {', '.join(sorted(available))}"
        )
    quotas = dict.fromkeys(available, 0)
    left = min(budget, sum(available.values()))
    while left:
        open_domains = {
            name: shares.get(name, 0.0) for name in available if quotas[name] < available[name]
        }
        total = sum(open_domains.values())
        if total == 0:
            open_domains = dict.fromkeys(open_domains, 1.0)
            total = float(len(open_domains))
        for name, extra in _largest_remainders(left, open_domains, total).items():
            taken = min(extra, available[name] - quotas[name])
            quotas[name] += taken
            left -= taken
    return quotas


def _largest_remainders(n: int, weights: dict[str, float], total: float) -> dict[str, int]:
    exact = {name: n * weight / total for name, weight in weights.items()}
    parts = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(exact, key=lambda name: (parts[name] - exact[name], name))
    for name in by_remainder[: n - sum(parts.values())]:
        parts[name] += 1
    return parts
