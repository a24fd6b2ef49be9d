"""What a chosen answer counts in training, by the teacher's probability of it (paper section 8)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from dasd_assets.profile import PowerWeights, SampleWeights
from resources.lake.table import ContractError


def sample_weights(selected: pa.Table, settings: SampleWeights) -> npt.NDArray[np.float32]:
    """The weight of each chosen answer; their mean is 1.

    With `power` it is c · p_teacher^exponent, but never above max_weight; c is such that the mean
    is 1. Without a bound a few answers of which the teacher was all but sure (short ones, mostly)
    could take a sample over; cutting them off first and scaling after would break the bound again.

    Args:
        selected: response_id and p_teacher of each answer.

    Raises:
        ContractError: a p_teacher is no probability above 0; the message names the response.
    """
    if not isinstance(settings, PowerWeights):
        return np.ones(selected.num_rows, np.float32)
    p_teacher = selected["p_teacher"].to_numpy().astype(np.float64)
    for index in np.flatnonzero(~((p_teacher > 0) & np.isfinite(p_teacher)))[:1].tolist():
        raise ContractError(
            f"divergence_sample: the weights go by p_teacher, which is {p_teacher[index]} for "
            f"{selected['response_id'][index]}; it has to be above 0. Materialize "
            "sentence_provenance again, or set divergence_sampling.weights to {kind: none}."
        )
    # By the largest, as a power of small probabilities could be too small for a number.
    powers = (p_teacher / p_teacher.max(initial=0.0)) ** settings.exponent
    return _with_mean_one(powers, settings.max_weight).astype(np.float32)


def _with_mean_one(values: npt.NDArray[np.float64], max_weight: float) -> npt.NDArray[np.float64]:
    """min(c · value, max_weight) with the c for which the mean is 1."""
    descending = np.sort(values)[::-1]
    n = len(values)
    # With the k largest at the bound, c follows from what the others have to add up to.
    n_bound = np.arange(n)
    scales = (n - n_bound * max_weight) / descending[::-1].cumsum()[::-1]
    fitting = np.flatnonzero(scales * descending <= max_weight)
    return np.minimum(scales[fitting[0]] * values, max_weight) if n else values
