"""A story as a terminal page: plain text, its meaning never in colour alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rich.table import Column, Table
from rich.text import Text

from dasd_assets.cli.story import Answer, Row, Story
from dasd_assets.reporting.report import printable
from resources.lake.tables.divergence_sampling import CONTROLS

if TYPE_CHECKING:
    from rich.console import Console

NOTHING = "–"
CLASS_STYLES = {"teacher": "green", "student": "magenta", "common": "", "unscored": "dim"}


class Page:
    """Prints the parts of a story; whatever a model or user wrote is printed as text."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def print_question(self, story: Story) -> None:
        """The question, where it came from, and where curation did not take it."""
        self._heading(f"Question {story.question_id}")
        question = story.question
        if question is None:
            self._line("Left out by curation: no shard has it among its questions.")
        else:
            self._facts(
                {
                    "delivered": f"{question['drop']}, line {question['line']}",
                    "question_shard": question["question_shard"],
                    "domain": question["domain"],
                    "difficulty": question["difficulty"],
                    "source": question["source"],
                    "reference answer": question["answer"],
                }
            )
            for message in question["earlier_messages"] or ():
                self._line(f"{message['role']}:")
                self._block(message["content"])
            self._block(question["question"])
        for row in story.rejected:
            self._line(
                f"Rejected from {row['drop']}, line {row['line']}: {row['reason']} "
                f"({row['evidence']})"
            )
        if story.left_out_text is not None:
            self._block(story.left_out_text)

    def print_prompts(self, prompts: Mapping[str, str]) -> None:
        """The prompts as the models get them."""
        for name, prompt in prompts.items():
            self._heading(f"Prompt of the {name}")
            self._block(prompt)

    def print_answers(self, story: Story) -> None:
        """Every answer to the question, one line each."""
        self._heading(f"{len(story.siblings)} answer(s) of the teacher")
        if not story.siblings:
            return
        names = (
            "response_id", "temperature", "sample", "finish", "verdict", "T/S/common", "score",
            "rank", "decision", "control",
        )  # fmt: skip
        table = table_of(*names)
        for row in story.siblings:
            counts = [row[f"n_{kind}_sentences"] for kind in ("teacher", "student", "common")]
            table.add_row(
                *map(
                    text_of,
                    (
                        row["response_id"],
                        f"{row['temperature']} {row['sampling_temperature']:g}",
                        row["sample_index"],
                        row["finish_reason"],
                        row["verdict"],
                        None if counts[0] is None else "/".join(map(str, counts)),
                        None if row["score"] is None else f"{row['score']:.3f}",
                        row["rank"],
                        row["decision"],
                        ", ".join(_controls(row)) or None,
                    ),
                )
            )
        self._console.print(table)

    def print_answer(self, answer: Answer, story: Story) -> None:
        """One answer: how it was sampled, its text, and all that became of it."""
        sample, settings = answer.sample, answer.settings
        self._heading(f"Answer {sample['response_id']}")
        self._facts(
            {
                "asked": f"{settings['model']} ({settings['model_revision']})",
                "engine": f"{settings['engine']} {settings['engine_version']}, "
                f"{settings['logprobs_mode']}",
                "temperature": f"{sample['temperature']}: {settings['sampling_temperature']:g}, "
                f"top_p {settings['top_p']:g}",
                "sample, seed": f"{settings['sample_index']}, {settings['seed']}",
                "finish reason": f"{settings['finish_reason']} after {settings['n_tokens']} of at "
                f"most {settings['max_tokens']} tokens",
            }
        )
        self._block(settings["text"])
        self._verdict(sample)
        self._sentences(answer)
        self._line(f"Selection: {why(answer)}")
        for rollout in answer.rollouts:
            self._rollout(rollout)
        for continuation in answer.continuations:
            self._continuation(continuation)
        self._checkpoints(answer, story)

    def _verdict(self, sample: Row) -> None:
        if sample["verdict"] is None:
            self._line("Filters: not filtered yet.")
        for broken in sample["broken_rules"] or []:
            self._line(f"Filters: rejected, {broken['rule']}: {broken['evidence']}")
        if sample["verdict"] == "kept":
            self._line(
                f"Filters: kept, {sample['n_teacher_tokens']} teacher tokens, "
                f"{sample['n_student_tokens']} student tokens."
            )

    def _sentences(self, answer: Answer) -> None:
        sample = answer.sample
        if not answer.sentences:
            self._line("Sentences: none were scored.")
            return
        self._line(
            f"Sentences: {sample['n_teacher_sentences']} Teacher, "
            f"{sample['n_student_sentences']} Student, {sample['n_common_sentences']} Common; "
            f"p_T {_probability(sample['p_teacher'])}, "
            f"p_S {_probability(sample['p_student'])} over the answer"
        )
        table = table_of("#", "part", "class", "p_T", "p_S", "sentence")
        for row in answer.sentences:
            table.add_row(
                str(row["sentence_index"] + 1),
                row["part"],
                Text(row["sentence_class"], CLASS_STYLES[row["sentence_class"]]),
                _probability(row["p_teacher"]),
                _probability(row["p_student"]),
                text_of(row["sentence"].strip()),
            )
        self._console.print(table)

    def _rollout(self, row: Row) -> None:
        end = "cut off by the cap" if row["is_truncated"] else row["finish_reason"]
        self._line(
            f"Rollout {row['rollout_id']}: the student's own answer, {end} after "
            f"{row['n_tokens']} of at most {row['max_tokens']} tokens (this answer has "
            f"{row['n_teacher_response_tokens']})"
        )
        self._block(row["text"])
        for broken in row["broken_rules"] or []:
            self._line(f"  not to be continued, {broken['rule']}: {broken['evidence']}")

    def _continuation(self, row: Row) -> None:
        self._line(
            f"Continuation {row['continuation_id']}: cut in the {row['cut_part']} at "
            f"{row['cut_fraction']:.0%} of the rollout, the teacher wrote {row['n_tokens']} "
            f"tokens ({row['finish_reason']})"
        )
        self._block(row["text"])
        for broken in row["broken_rules"] or []:
            self._line(f"  rejected, {broken['rule']}: {broken['evidence']}")
        if row["is_kept"]:
            self._line("  kept: it is in the mixed-policy sample")

    def _checkpoints(self, answer: Answer, story: Story) -> None:
        if not answer.trained:
            self._line("Checkpoints: it is in no training sample.")
        for row in answer.trained:
            checkpoint = story.checkpoints[row["checkpoint"]]
            state = f"current {checkpoint['key']}" if checkpoint["key"] else "not trained yet"
            if checkpoint["is_sample_newer"]:
                state += ", whose sample was written anew since: the row may be newer, too"
            self._line(
                f"Checkpoint {row['checkpoint']} ({state}): as {row['policy']} sample "
                f"{row['sample_id']}"
            )
            if row["sequence"] is not None:
                seen = ", ".join(f"step {step} (epoch {epoch})" for epoch, step in row["steps"])
                self._line(
                    f"  packed sequence {row['sequence']}, place {row['place']} in it; "
                    f"{f'seen in {seen}' if seen else 'no step of this checkpoint saw it'}"
                )

    def _heading(self, title: str) -> None:
        self._console.print()
        self._console.rule(Text(title, "bold"), align="left", characters="─")

    def _facts(self, facts: Mapping[str, Any]) -> None:
        table = table_of("", "", show_header=False)
        for name, value in facts.items():
            table.add_row(name, text_of(value))
        self._console.print(table)

    def _block(self, text: str) -> None:
        """A text as it is, set off from what is said about it."""
        for line in printable(text).split("\n"):
            self._console.print(Text(f"  │ {line}"), soft_wrap=True)

    def _line(self, text: str) -> None:
        self._console.print(text_of(text))


def why(answer: Answer) -> str:
    """Why an answer was chosen or not, in words."""
    sample, rivals = answer.sample, answer.rivals
    if rivals is None:
        return "not a candidate."
    place = f"rank {sample['rank']} of {rivals['n']} in {sample['domain']}"
    if sample["policy"]:
        place += f" by {sample['policy']}, score {sample['score']:.4f}"
    stratum = (
        f"{rivals['n_selected_in_stratum']} of {rivals['n_in_stratum']} of length stratum "
        f"{sample['length_stratum']}"
    )
    better = ", ".join(f"{row['response_id']} (rank {row['rank']})"
                       for row in answer.better_siblings)  # fmt: skip
    reasons = {
        "selected": f"chosen, within the domain's budget; {stratum} were",
        "over_answers_per_question": "not chosen: of the answers to one question only the best "
        f"may be, and these are better: {better}",
        "over_domain_quota": f"not chosen: the domain's share of the budget went to "
        f"{rivals['n_selected']} answers, the last of rank {rivals['last_rank']}",
        "over_stratum_quota": "not chosen: the quota of answers of its length was full; "
        f"{stratum} were",
        "too_long_for_budget": "not chosen: longer than what was left of the budget of tokens",
    }
    found = " and the ".join(_controls(sample))
    control = f". It is in the {found} control" if found else ""
    return f"{place}; {reasons.get(sample['decision'], sample['decision'])}{control}."


def _controls(row: Row) -> list[str]:
    """The controls that an answer is in."""
    return [name for name in CONTROLS if row[f"is_{name}_control"]]


def table_of(*names: str, **settings: Any) -> Table:
    """A table without lines, whose cells are folded and never cut."""
    columns = [Column(name, overflow="fold") for name in names]
    return Table(*columns, box=None, pad_edge=False, **settings)


def text_of(value: Any) -> Text:
    return Text(NOTHING if value is None else printable(str(value)))


def _probability(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.3f}"
