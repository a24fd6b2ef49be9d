"""Boosted Sentences: what the distilled model does differently from both (paper section 4).

For analysis after training; a Boosted Sentence cannot be known before, and nothing is selected
by it. `dasd boosted` runs this on a finished pipeline.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from dasd_assets.divergence_sampling.provenance import SHARED, sentence_provenance
from dasd_assets.divergence_sampling.sentence_tokens import Floats
from dasd_assets.divergence_sampling.sentences import Segmenter
from resources.lake.table import ContractError
from resources.lake.tables.divergence_sampling import BOOSTED_SENTENCES

BOOSTED = "boosted"


def boosted_sentences(
    provenance: pa.Table,
    filtered: Iterable[pa.RecordBatch],
    distilled_scores: Iterable[pa.RecordBatch],
    min_probability_ratio: float,
    segmenter: Segmenter,
) -> Iterator[pa.RecordBatch]:
    """Classify the sentences again, with the distilled model as third judge.

    Args:
        provenance: rows with the schema SENTENCE_PROVENANCE of the same responses, in order.
        filtered, distilled_scores: as for `sentence_provenance`; the scores are the distilled
            model's, not the base student's.

    Returns:
        Batches with the schema BOOSTED_SENTENCES.

    Raises:
        ContractError: as `sentence_provenance`; or the sentences are cut otherwise than those of
            `provenance`.
    """
    done = 0
    for block in sentence_provenance(filtered, distilled_scores, min_probability_ratio, segmenter):
        judged = block.sentences  # p_student is p_D here
        known = provenance.slice(done, judged.num_rows).combine_chunks()
        done += judged.num_rows
        for name in ("response_id", "sentence_index", "start_byte", "end_byte", "segmenter"):
            if not known[name].combine_chunks().equals(judged[name]):
                raise ContractError(
                    f"sentence_provenance has other values of {name} than the same responses give "
                    f"now; materialize it again (segmenter {segmenter.name} {segmenter.version})"
                )
        p_distilled = judged["p_student"]
        is_boosted = boosted(
            _floats(known["p_teacher"]),
            _floats(known["p_student"]),
            _floats(p_distilled),
            min_probability_ratio,
        )
        is_boosted &= known["sentence_class"].to_numpy() == SHARED
        kind = pc.if_else(pa.array(is_boosted), BOOSTED, known["sentence_class"].combine_chunks())
        yield pa.RecordBatch.from_arrays(
            [
                *(known[name].combine_chunks() for name in BOOSTED_SENTENCES.names[:-2]),
                p_distilled,
                kind,
            ],
            schema=BOOSTED_SENTENCES,
        )


def boosted(
    p_teacher: Floats, p_student: Floats, p_distilled: Floats, min_probability_ratio: float
) -> npt.NDArray[np.bool_]:
    """Whether p_T ≈ p_S and p_D is far from both, above or below; never where one is NaN.

    "Far" is what makes a Teacher Sentence: a ratio of at least `min_probability_ratio`.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        log_teacher, log_student, log_distilled = (
            np.log(p) for p in (p_teacher, p_student, p_distilled)
        )
        far = np.log(min_probability_ratio)
        return (
            (np.abs(log_teacher - log_student) < far)
            & (np.abs(log_distilled - log_teacher) >= far)
            & (np.abs(log_distilled - log_student) >= far)
        )


def _floats(values: pa.Array | pa.ChunkedArray) -> Floats:
    found: Floats = pc.cast(pc.fill_null(values, float("nan")), pa.float64()).to_numpy()
    return found
