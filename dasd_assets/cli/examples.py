"""Examples of every command, as they stand at the end of its help and in docs/cli.md."""

from __future__ import annotations


def _lines(*lines: str) -> str:
    return "\n\n".join(["Examples:", *lines])


EXAMPLES = {
    "dasd": _lines(
        "`dasd init my-project`: a folder with a profile and an inbox to begin with",
        "`dasd run`: make what is missing or stale",
        "`dasd status`: what is there and what is not",
    ),
    "init": _lines(
        "`dasd init my-project`: the tiny models, on CPU, with a profile to change",
        "`dasd init my-project --from dasd-4b-api`: the paper's numbers, the teacher behind an API",
    ),
    "doctor": _lines(
        "`dasd doctor`: can the active profile run on this machine?",
        "`dasd doctor && dasd run`: run only if it can",
    ),
    "plan": _lines(
        "`dasd plan`: for the questions in the inbox",
        "`dasd plan --profile dasd-4b --questions 110000`: before there are any",
        "`dasd plan --teacher-tokens-per-second 2500 --price-per-gpu-hour 2`: your own figures",
        "`dasd plan --json | jq .totals`: for a program",
    ),
    "add-questions": _lines(
        "`dasd add-questions new.jsonl --dry-run`: what is in it, without adding it",
        "`dasd add-questions new.jsonl --name algebra-2`: as the question_shard `algebra-2`",
        "`dasd add-questions OpenR1-Math --layout 'openr1-*'`: with a layout of the profile",
    ),
    "run": _lines(
        "`dasd run`: the profile `tiny`, which needs nothing",
        "`DASD_PROFILE=my-project/profile.yaml dasd run --workers 4`: a profile of your own",
        "`dasd run --select +key:divergence_sample`: up to the samples, without training",
    ),
    "status": _lines(
        "`dasd status`: one line for each asset",
        "`dasd status teacher_responses`: the partitions of one asset that are not up to date",
        "`dasd status --json`: for a program",
    ),
    "ui": _lines("`dasd ui --port 3001`: where port 3000 is taken"),
    "report": _lines("`dasd report`: where the page is", "`dasd report --open`: in the browser"),
    "trace": _lines(
        "`dasd trace r-0123456789abcdef`: one answer, from its drop to the checkpoints",
        "`dasd trace r-0123456789abcdef --html page.html`: its sentences, coloured by class",
    ),
    "sql": _lines(
        '`dasd sql "SELECT domain, count(*) FROM samples GROUP BY ALL"`',
        '`dasd sql "FROM rejects" --csv > rejects.csv`',
    ),
    "docs": _lines(
        "`dasd docs`: the index",
        "`dasd docs plan`: the page that a message names as `dasd docs plan`",
    ),
    "verify": _lines("`dasd verify`: after a disk failed, or a backup was brought back"),
    "verify-release": _lines(
        "`dasd verify-release .dasd/tiny/lake/releases/model`: what was released last",
        "`dasd verify-release ~/Downloads/dasd-model`: what came over the net",
    ),
    "pictures": _lines("`dasd pictures plots`: as PNG files into the folder `plots`"),
    "compare-policies": _lines(
        "`dasd compare-policies`: all temperatures",
        "`dasd compare-policies --temperature high --page policies.html`",
    ),
}
