r"""Graders: is a final answer right, by the grader that the profile gives its domain.

`Graders.grade` takes the text of the final channel (what follows `</think>`) and the reference as
it came with the question. Model text is never trusted: whatever cannot be read is a wrong answer
with a reason, not an exception, and it is executed in a sandbox or not at all. A list of references
holds several accepted answers: one that accepts is enough. References by kind of grader:

- `math`: a number or an expression, plain or in LaTeX; the answer's last `\boxed{...}` is compared
  by value.
- `code_tests`: `{"tests": [{"input": text, "output": text}, ...]}` for a program that reads
  standard input; `{"entry_point": name, "assertions": ["assert name(1) == 2", ...]}` for a function
  or class (each list of assertions, where there are several, is a test with limits of its own);
  both together; in each a `preamble` may stand, which runs before the program; or `{"function":
  name, "tests": [[arguments, expected], ...]}` for one function with one returned expression, which
  is evaluated and never run. Judged is the last code block.
- `multiple_choice`: the letter of the right option; the last one that is boxed or stated as the
  answer is compared.
- `instruction`: the exact text, or `{"constraints": [{"type": ..., ...}, ...]}` with the types of
  `dasd_assets.verification.instructions.CONSTRAINTS`.
- `exact`: a text or a number; the whole answer is compared.
- `regex`: a text or a number; what the profile's pattern finds is compared.
- `judge`: anything; it is shown to a model.
- `none`: whatever it is, nothing is judged.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from dasd_assets.profile import PAPER_DOMAINS, GraderSettings, JudgeGrader, Verification
from dasd_assets.profile.domains import (
    CodeTestsGrader,
    ExactGrader,
    InstructionGrader,
    MathGrader,
    MultipleChoiceGrader,
    RegexGrader,
    unknown_domain,
)
from dasd_assets.verification.grade import Grade, Grader, NotJudgedError
from dasd_assets.verification.instructions import grade_instruction_following
from dasd_assets.verification.math_answers import grade_math
from dasd_assets.verification.options import grade_option
from dasd_assets.verification.programs import grade_code
from dasd_assets.verification.sandbox import Limits, check_sandbox
from dasd_assets.verification.texts import grade_exact, grade_pattern

if TYPE_CHECKING:
    from dasd_assets.verification.judge import ModelJudge
    from dasd_assets.verification.verdicts import Verdicts

MAX_ANSWER_CHARACTERS: Final = 200_000
DEFAULT_SETTINGS: Final = Verification()


@dataclass(frozen=True)
class ByRule:
    """A grader that is a function of answer and reference."""

    rule: Callable[[str, Any], Grade]

    def grade(self, question: str, answer: str, reference: Any) -> Grade:
        """See `Grader`."""
        return self.rule(answer, reference)

    def check_reference(self, reference: Any) -> None:
        """See `Grader`."""
        self.rule("?", reference)


class ByValue(ByRule):
    """A grader that accepts its own reference in a box, or no answer at all."""

    def check_reference(self, reference: Any) -> None:
        """See `Grader`."""
        itself = self.rule(rf"\boxed{{{reference}}}", reference)
        if not itself.is_correct:
            raise ValueError(f"no answer could be right: {itself.reason} for the reference itself")


class Graders:
    """The graders of a profile's domains; as a context manager it closes what judges opened.

    What judges said is kept in the journal. When the context ends well and nothing was left
    unjudged, the journal is deleted; else a retry asks only for what is missing.
    """

    def __init__(
        self,
        domains: Mapping[str, GraderSettings] = PAPER_DOMAINS,
        limits: Verification = DEFAULT_SETTINGS,
        journal: Path | None = None,
    ) -> None:
        """Nothing is opened before a judge is needed.

        Args:
            domains: name -> its grader.
            limits: of comparing expressions and of running programs.
            journal: file for what judges say; None: kept in memory.
        """
        self.domains = domains
        self._limits, self._journal = limits, journal
        self._graders: dict[str, Grader] = {}
        self._judges: list[ModelJudge] = []
        self._verdicts: Verdicts | None = None
        self._lock = threading.Lock()
        self._n_unjudged = 0

    def __enter__(self) -> Graders:
        return self

    def __exit__(self, error: type[BaseException] | None, *_: object) -> None:
        with ExitStack() as closing:
            if self._verdicts is not None:
                closing.callback(self._verdicts.close)
            for judge in self._judges:
                closing.callback(judge.close)
        if self._journal is not None and error is None and not self._n_unjudged:
            self._journal.unlink(missing_ok=True)

    @property
    def spent(self) -> dict[str, float]:
        """What judges cost in tokens and money; nothing where there are none."""
        if not self._judges:
            return {}
        budgets = [judge.budget for judge in self._judges if judge.budget is not None]
        return {
            "judge_tokens": sum(one.prompt_tokens + one.completion_tokens for one in budgets),
            "judge_cost": sum(one.cost for one in budgets),
            "unjudged": self._n_unjudged,
        }

    def grade(self, domain: str, answer: str, reference: Any, question: str = "") -> Grade:
        """Judge an answer's final text against the reference, or references, of its question.

        Raises:
            ValueError: the domain has no grader, or a reference is malformed. Text in `answer`
                never raises.
            NotJudgedError: a judge gave no verdict.
            SandboxError: the answer is a program, and this machine has no sandbox to run it in.
            EngineUnavailableError: a judge's server does not accept the key.
        """
        grader = self._grader(domain)
        if len(answer) > MAX_ANSWER_CHARACTERS:
            return Grade(False, "answer_too_long")
        if not answer.strip():
            return Grade(False, "empty_answer")
        accepted = _accepted(reference)
        first = None
        try:
            for one in accepted:
                found = grader.grade(question, answer, one)
                if found.is_correct:
                    return found
                first = first or found
        except NotJudgedError:
            with self._lock:
                self._n_unjudged += 1
            raise
        assert first is not None
        if len(accepted) == 1:
            return first
        others = f"nor is it one of the {len(accepted) - 1} other accepted answers"
        return replace(first, detail="; ".join(filter(None, [first.detail, others])))

    def check_reference(self, domain: str, reference: Any) -> None:
        """Raise ValueError unless the grader of a domain can use a reference, or each of a list.

        No program is run and no judge asked.
        """
        grader = self._grader(domain)
        for one in _accepted(reference):
            grader.check_reference(one)

    def require(self, questions: pa.Table) -> None:
        """Refuse to begin where programs are to be run and cannot be, or a judge has no key.

        Args:
            questions: their columns `domain` and `answer`.

        Raises:
            SandboxError: a question needs a sandbox, and this machine has none; says what to do.
            EngineUnavailableError: the environment variable with a judge's API key is not set.
        """
        asked = [name for name in questions["domain"].unique().to_pylist() if name in self.domains]
        for name in asked:
            if isinstance(self.domains[name], JudgeGrader):
                self._grader(name)
        for judge in self._judges:
            judge.open()
        programs = [name for name in asked if isinstance(self.domains[name], CodeTestsGrader)]
        for domain, answer in zip(questions["domain"], questions["answer"], strict=True):
            # Read one by one, up to the first that needs one: tests can take 100 MB.
            reference = json.loads(answer.as_py()) if domain.as_py() in programs else None
            each = reference if isinstance(reference, list) else [reference]
            if any(isinstance(one, Mapping) and "function" not in one for one in each):
                check_sandbox()
                return

    def _grader(self, domain: str) -> Grader:
        if domain not in self.domains:
            raise ValueError(f"no grader for domain {unknown_domain(domain, self.domains)}")
        with self._lock:
            if domain not in self._graders:
                self._graders[domain] = self._made(domain)
            return self._graders[domain]

    def _made(self, domain: str) -> Grader:
        settings, limits = self.domains[domain], self._limits
        match settings:
            case MathGrader():
                return ByValue(lambda answer, one: grade_math(answer, one, limits.math_seconds))
            case MultipleChoiceGrader():
                return ByRule(grade_option)
            case CodeTestsGrader():
                of_program = Limits(limits.code_seconds, limits.code_memory_mib)
                return ByRule(lambda answer, one: grade_code(answer, one, of_program))
            case InstructionGrader():
                return ByRule(grade_instruction_following)
            case ExactGrader(ignore_case=ignore):
                return ByRule(lambda answer, one: grade_exact(answer, one, ignore))
            case RegexGrader(pattern=pattern, ignore_case=ignore):
                return ByRule(lambda answer, one: grade_pattern(answer, one, pattern, ignore))
            case JudgeGrader():
                return self._judge(domain, settings)
        raise ValueError(f"domains.{domain} has the grader none: no reference of it can be used")

    def _judge(self, domain: str, settings: JudgeGrader) -> ModelJudge:
        # Only who has a judge pays for loading an HTTP client.
        from dasd_assets.verification.judge import ModelJudge
        from dasd_assets.verification.verdicts import Verdicts

        if self._verdicts is None:
            self._verdicts = Verdicts(self._journal)
        judge = ModelJudge(domain, settings, self._verdicts)
        self._judges.append(judge)
        return judge


PAPER_GRADERS: Final = Graders()
"""Those of the paper's domains, with the default limits."""


def grade(
    domain: str, answer: str, reference: Any, limits: Verification = DEFAULT_SETTINGS
) -> Grade:
    """Judge an answer of one of the paper's domains, see `Graders.grade`."""
    return Graders(limits=limits).grade(domain, answer, reference)


def _accepted(reference: Any) -> list[Any]:
    """The accepted answers: the entries of a list, or the one reference."""
    if not isinstance(reference, list):
        return [reference]
    if not reference:
        raise ValueError("the reference is an empty list: no answer is accepted")
    if any(isinstance(one, list) for one in reference):
        raise ValueError("the reference is a list of lists; an accepted answer is no list")
    return reference
