"""The answers to an evaluation question as a terminal page."""

from __future__ import annotations

from rich.text import Text

from dasd_assets.cli.story_page import NOTHING, Page, table_of, text_of
from dasd_assets.reporting.graded_answers import BenchmarkStory, shortened


class BenchmarkPage(Page):
    """Prints a question, how each checkpoint did, and one answer or a line for each."""

    def print_story(self, story: BenchmarkStory) -> None:
        """The question and its answers in short; the whole text of one, if it was asked for."""
        question = story.question
        self._heading(f"Evaluation question {question['question_id']}")
        self._facts(
            {
                "evaluation set": question["benchmark"],
                "domain": question["domain"],
                "reference answer": shortened(question["answer"]),
            }
        )
        self._block(question["prompt"])
        self._heading("By checkpoint")
        table = table_of("checkpoint", "right", "answers", "cut off", "no answer", "mean tokens")
        for row in story.checkpoints:
            counts = (row["n_correct"], row["n"], row["n_truncated"], row["n_unanswered"])
            table.add_row(row["checkpoint"], *map(str, counts), f"{row['mean_tokens']:,.0f}")
        self._console.print(table)
        if story.opened is None:
            self._print_answers(story)
        else:
            self._print_answer(story.opened)

    def _print_answers(self, story: BenchmarkStory) -> None:
        self._heading(f"{len(story.answers)} answer(s); `dasd trace` with an answer_id opens one")
        table = table_of(
            "answer_id", "checkpoint", "sample", "finish", "tokens", "verdict", "judged"
        )
        for row in story.answers:
            table.add_row(
                row["answer_id"],
                row["checkpoint"],
                str(row["sample_index"]),
                row["finish_reason"],
                f"{row['n_tokens']:,}",
                Text(row["verdict"], "green" if row["is_correct"] else "red"),
                text_of(None if row["extracted"] is None else shortened(row["extracted"], 60)),
            )
        self._console.print(table)

    def _print_answer(self, row: dict[str, object]) -> None:
        self._heading(f"Answer {row['answer_id']}")
        self._facts(
            {
                "checkpoint": row["checkpoint"],
                "sample, seed": f"{row['sample_index']}, {row['seed']}",
                "finish reason": f"{row['finish_reason']} after {row['n_tokens']} of at most "
                f"{row['max_tokens']} tokens",
                "verdict": row["verdict"],
                "judged": row["extracted"] or NOTHING,
                "why": row["detail"],
            }
        )
        self._block(str(row["text"]))
