"""What each selection policy would choose from the same candidates, without training anything."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.divergence_sampling.policies import POLICIES, rankable
from dasd_assets.divergence_sampling.selection import select
from dasd_assets.profile import DivergenceSampling
from dasd_assets.profile.divergence_sampling import WITHOUT_TEACHER
from dasd_assets.reporting.figures import SENTENCE_CLASSES
from resources.lake.tables.divergence_sampling import CONTROLS

ALL_CANDIDATES = "all candidates"
LENGTH_QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)


@dataclass(frozen=True)
class Choice:
    """What a set of responses looks like; means and shares of an empty set are NaN.

    Attributes:
        policy: the policy that chose them, ALL_CANDIDATES, or a control.
        n_tokens: student tokens of all of them.
        n_teacher_sentences: in all of them.
        lengths: quantiles LENGTH_QUANTILES of their student tokens.
        class_shares: class -> share of all their scored sentences.
        domain_shares: domain -> share of the tokens, which is what training sees (the samples are
            shared out by quota); every domain of the candidates is there.
        p_teacher, p_student: means over the responses.
        probability_ratio: geometric mean over the responses of p_teacher / p_student.
    """

    policy: str
    n_samples: int
    n_tokens: int
    n_teacher_sentences: int
    mean_tokens: float
    lengths: tuple[float, ...]
    class_shares: dict[str, float]
    domain_shares: dict[str, float]
    p_teacher: float
    p_student: float
    probability_ratio: float


@dataclass(frozen=True)
class Comparison:
    """The choices of all policies at one temperature.

    Attributes:
        candidates: all that could be chosen.
        controls: those of the profile's own policy, of its token count.
        choices: one per policy, in the order of POLICIES; where nobody knows the teacher's
            probabilities of some answers, of those policies that do without.
        configured: the profile's policy.
        overlap: Jaccard index of every two choices, shape (policies, policies), 0 to 1.
    """

    temperature: str
    budget: tuple[str, int]
    candidates: Choice
    controls: list[Choice]
    choices: list[Choice]
    overlap: npt.NDArray[np.float64]
    configured: str

    @property
    def described(self) -> list[Choice]:
        """All that is shown side by side."""
        return [self.candidates, *self.choices, *self.controls]


def compare_policies(
    responses: pa.Table, settings: DivergenceSampling, temperature: str, seed: int
) -> Comparison:
    """Select with every policy, all else as in the settings.

    Args:
        responses: rows with the schema RESPONSE_PROVENANCE and a column question_shard.
        temperature: partition whose budget holds.

    Raises:
        ContractError: as `select` does.
    """
    responses = rankable(responses, settings.policy)
    is_known = not responses["p_teacher"].null_count
    selected = {
        policy: select(responses, settings.model_copy(update={"policy": policy}), temperature, seed)
        for policy in (POLICIES if is_known else WITHOUT_TEACHER)
    }
    domains = sorted(pc.unique(responses["domain"]).to_pylist())
    own = selected[settings.policy]
    chosen = {policy: table["is_selected"] for policy, table in selected.items()}
    return Comparison(
        temperature,
        settings.budget(temperature),
        _described(ALL_CANDIDATES, responses, domains),
        [
            _described(f"{name} control", responses.filter(own[f"is_{name}_control"]), domains)
            for name in CONTROLS
        ],
        [_described(policy, responses.filter(rows), domains) for policy, rows in chosen.items()],
        jaccard(np.stack([rows.to_numpy() for rows in chosen.values()])),
        settings.policy,
    )


def jaccard(sets: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    """Elements that two sets share over those that either has; two empty sets are the same.

    Args:
        sets: whether each set has each element, shape (sets, elements).

    Returns:
        Index of every two sets, shape (sets, sets).
    """
    members = sets.astype(np.float64)  # float64 counts exactly and multiplies fast
    both = members @ members.T
    sizes = members.sum(axis=1)
    either = sizes[:, None] + sizes[None, :] - both
    return np.divide(both, either, out=np.ones_like(both), where=either > 0)


def _described(policy: str, responses: pa.Table, domains: list[str]) -> Choice:
    n_tokens = _column(responses, "n_student_tokens")
    n_by_class = {
        name: float(_column(responses, f"n_{name}_sentences").sum()) for name in SENTENCE_CLASSES
    }
    names = np.array(responses["domain"].to_pylist(), dtype=np.str_)
    n_by_domain = {name: float(n_tokens[names == name].sum()) for name in domains}
    p_teacher, p_student = _column(responses, "p_teacher"), _column(responses, "p_student")
    least = np.finfo(np.float32).tiny
    log_ratio = np.log(np.maximum(p_teacher, least)) - np.log(np.maximum(p_student, least))
    lengths = np.quantile(n_tokens if len(n_tokens) else [np.nan], LENGTH_QUANTILES)
    return Choice(
        policy=policy,
        n_samples=responses.num_rows,
        n_tokens=int(n_tokens.sum()),
        n_teacher_sentences=int(n_by_class["teacher"]),
        mean_tokens=_mean(n_tokens),
        lengths=tuple(lengths.tolist()),
        class_shares=_shares(n_by_class),
        domain_shares=_shares(n_by_domain),
        p_teacher=_mean(p_teacher),
        p_student=_mean(p_student),
        probability_ratio=float(np.exp(_mean(log_ratio))),
    )


def _shares(counts: dict[str, float]) -> dict[str, float]:
    total = sum(counts.values())
    return {name: count / total if total else float("nan") for name, count in counts.items()}


def _mean(values: npt.NDArray[np.float64]) -> float:
    return float(values.mean()) if len(values) else float("nan")


def _column(responses: pa.Table, name: str) -> npt.NDArray[np.float64]:
    values: npt.NDArray[np.float64] = responses[name].to_numpy().astype(np.float64)
    return values
