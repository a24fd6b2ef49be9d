"""Precision and recall of the repetition rules on labelled honest and looping texts.

A rule's precision is the share of looping texts among those that it fires on; its recall, the
share of the texts labelled with it that it fires on.

    python -m benchmarks.repetition
"""

from __future__ import annotations

import argparse
from collections import Counter

from benchmarks.repetition_texts import LabelledText, labelled_texts
from dasd_assets.profile import ResponseFiltering
from dasd_assets.response_filtering.rules import Response, broken_rules

RULES = ("repeated_paragraph", "repeated_sentence", "repeated_ngram", "repeated_characters")
SETTINGS = ResponseFiltering(max_student_tokens=1_000_000)


def main() -> None:
    """Print precision and recall per rule and of all together, and which texts are mistaken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    texts = labelled_texts(parser.parse_args().seed)
    found = [fired(each) for each in texts]
    n_looping = sum(bool(each.rules) for each in texts)
    print(f"{len(texts) - n_looping} honest texts, {n_looping} looping ones")
    for rule in (*RULES, "any of them"):
        precision, recall = scores(texts, found, rule)
        print(f"{rule:22} precision {precision:6.1%}  recall {recall:6.1%}")
    mistakes = Counter(
        (each.kind, "honest, rejected" if not each.rules else "loop, kept")
        for each, names in zip(texts, found, strict=True)
        if bool(names) != bool(each.rules)
    )
    for (kind, what), n in sorted(mistakes.items()):
        print(f"  {kind}: {n} x {what}")


def fired(text: LabelledText) -> frozenset[str]:
    """The repetition rules that a text breaks."""
    broken = broken_rules(Response(text.text, "It is 4.", 1), SETTINGS)
    return frozenset(each["rule"] for each in broken)


def scores(
    texts: list[LabelledText], found: list[frozenset[str]], rule: str
) -> tuple[float, float]:
    """Precision and recall of one rule, or of `any of them`."""
    hits = [bool(names) if rule not in RULES else rule in names for names in found]
    is_due = [bool(each.rules) if rule not in RULES else rule in each.rules for each in texts]
    n_hits = sum(hits)
    right = sum(hit and bool(each.rules) for hit, each in zip(hits, texts, strict=True))
    found_due = sum(hit and due for hit, due in zip(hits, is_due, strict=True))
    return right / max(1, n_hits), found_due / max(1, sum(is_due))


if __name__ == "__main__":
    main()
