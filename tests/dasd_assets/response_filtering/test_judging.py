"""What a verdict, or none, means for an answer."""

from __future__ import annotations

import json
from typing import Any

from dasd_assets.profile import load_profile
from dasd_assets.response_filtering.judging import Judge, Judgement
from dasd_assets.verification.grade import Grade, NotJudgedError
from dasd_assets.verification.graders import Graders

SETTINGS = load_profile("tiny").response_filtering
ROW = {"question_id": "q", "domain": "law", "question": "Which paragraph?"}


class Scripted(Graders):
    """Says right to what holds its reference, and nothing to `silence`; knows what it was shown."""

    shown: tuple[Any, ...] = ()

    def grade(self, domain: str, answer: str, reference: Any, question: str = "") -> Grade:
        self.shown = (domain, answer, reference, question)
        if answer == "silence":
            raise NotJudgedError("the judge of law is over budget")
        return Grade(reference in answer, "judged_wrong", None, "the judge said 'no'")


def judged(answer: str, **settings: list[str]) -> Judgement:
    graders = Scripted()
    judge = Judge(SETTINGS.model_copy(update=settings), {"q": json.dumps("§ 1")}, graders)
    found = judge(ROW, answer)
    assert graders.shown == ("law", answer, "§ 1", "Which paragraph?")
    return found


def test_of_a_verified_domain_an_answer_without_verdict_is_unverifiable() -> None:
    assert judged("It is § 1.", verify_domains=["law"]) == Judgement(True)
    (wrong,) = judged("It is § 2.", verify_domains=["law"]).broken
    assert wrong == {
        "rule": "incorrect_answer", "evidence": "judged_wrong: the judge said 'no'",
    }  # fmt: skip
    (silent,) = judged("silence", verify_domains=["law"]).broken
    assert silent == {"rule": "unverifiable_answer", "evidence": "the judge of law is over budget"}


def test_a_judge_is_shown_the_whole_conversation() -> None:
    graders = Scripted()
    earlier = [{"role": "user", "content": "Hello."}, {"role": "assistant", "content": "Yes?"}]
    settings = SETTINGS.model_copy(update={"verify_domains": ["law"]})
    Judge(settings, {"q": '"§ 1"'}, graders)({**ROW, "earlier_messages": earlier}, "§ 1")
    assert graders.shown[3] == "user: Hello.\n\nassistant: Yes?\n\nuser: Which paragraph?"


def test_of_a_judged_domain_an_answer_without_verdict_is_kept_unjudged() -> None:
    assert judged("It is § 2.", judge_domains=["law"]) == Judgement(False)
    assert judged("silence", judge_domains=["law"]) == Judgement(None)
