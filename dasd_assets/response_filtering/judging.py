"""Whether an answer is right, and what that means for it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dasd_assets.profile import ResponseFiltering
from dasd_assets.response_filtering.rules import MAX_EVIDENCE
from dasd_assets.verification.graders import PAPER_GRADERS, Graders


@dataclass(frozen=True)
class Judgement:
    """Whether an answer is right (None: not judged), and the rule that it breaks by that."""

    is_correct: bool | None = None
    broken: tuple[dict[str, str], ...] = ()


@dataclass(frozen=True)
class Judge:
    """Judges the answers of the domains that the profile has judged or verified.

    Attributes:
        references: question_id -> reference answer as JSON. Where the answer is verified and its
            reference missing or unusable, the answer is rejected as `unverifiable_answer`.
        graders: of the profile's domains.
    """

    settings: ResponseFiltering
    references: Mapping[str, str]
    graders: Graders = PAPER_GRADERS

    def __call__(self, row: Mapping[str, Any], answer: str) -> Judgement:
        """Judge one answer; an empty one is judged by the rules of structure.

        Args:
            row: question_id, domain, question and earlier_messages of the answer.

        Raises:
            SandboxError: a program is to be judged, and this machine has no sandbox.
            EngineUnavailableError: the server of a judge does not accept the key.
        """
        domain = row["domain"]
        is_verified = domain in self.settings.verify_domains
        if not answer or not (is_verified or domain in self.settings.judge_domains):
            return Judgement()
        reference = self.references.get(row["question_id"])
        try:
            if reference is None:
                raise ValueError("the question has no reference")
            verdict = self.graders.grade(domain, answer, json.loads(reference), _asked(row))
        except ValueError as error:
            rule = {"rule": "unverifiable_answer", "evidence": str(error)[:MAX_EVIDENCE]}
            return Judgement(None, (rule,) if is_verified else ())
        if verdict.is_correct or not is_verified:
            return Judgement(verdict.is_correct)
        evidence = ": ".join(filter(None, [verdict.reason, verdict.detail]))
        return Judgement(False, ({"rule": "incorrect_answer", "evidence": evidence},))


def _asked(row: Mapping[str, Any]) -> str:
    """The question as a judge is shown it, with what was said before it."""
    earlier = row.get("earlier_messages") or ()
    said = [f"{message['role']}: {message['content']}" for message in earlier]
    return "\n\n".join([*said, f"user: {row['question']}"] if said else [row["question"]])
