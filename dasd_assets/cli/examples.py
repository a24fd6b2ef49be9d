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
    "pull": _lines(
        "`dasd pull && dasd doctor`: fetch what the profile names on the hub, then try it",
        "`HF_HUB_OFFLINE=1 dasd pull`: is it all in the cache?",
    ),
    "doctor": _lines(
        "`dasd doctor`: can the active profile run on this machine?",
        "`dasd doctor && dasd run`: run only if it can",
    ),
    "plan": _lines(
        "`dasd plan`: for the questions in the inbox",
        "`dasd plan --profile dasd-4b --questions 110000`: before there are any",
        "`dasd plan --teacher-tokens-per-second 2500 --price-per-gpu-hour 2`: your own figures",
        "`dasd plan --measured gpu-check/gpu-check.json`: with what `make gpu-check` measured",
        "`dasd plan --json | jq .totals`: for a program",
    ),
    "add-questions": _lines(
        "`dasd add-questions new.jsonl --dry-run`: what is in it, without adding it",
        "`dasd add-questions new.jsonl --name algebra-2`: as the question_shard `algebra-2`",
        "`dasd add-questions OpenR1-Math --layout 'openr1-*'`: with a layout of the profile",
        "`dasd add-questions hf://datasets/open-r1/OpenR1-Math-220k/data --name r1`: of the hub",
    ),
    "run": _lines(
        "`dasd run`: the profile `tiny`, which needs nothing",
        "`DASD_PROFILE=my-project/profile.yaml dasd run --workers 4`: a profile of your own",
        "`dasd run --select +key:divergence_sample`: up to the samples, without training",
    ),
    "retire": _lines(
        "`dasd retire drop-01`: what would leave with it",
        "`dasd retire drop-01 --yes`: take it out",
    ),
    "status": _lines(
        "`dasd status`: one line for each asset",
        "`dasd status teacher_responses`: the partitions of one asset that are not up to date",
        "`dasd status --json`: for a program",
    ),
    "check": _lines(
        "`dasd check`: all checks on all that is there",
        "`dasd check --select group:questions`: after a changed limit of these",
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
    "data-docs": _lines("`dasd data-docs --open`: pages of all checks, in the browser"),
    "expectations": _lines("`dasd expectations suites`: for a Great Expectations project of yours"),
    "export": _lines(
        "`dasd export trl for-trl`: prompts and completions, a file a stage",
        "`dasd export axolotl for-axolotl --logprobs`: with the teacher's tokens and logprobs",
    ),
    "publish": _lines(
        "`dasd publish --dry-run`: which files would go where",
        "`dasd publish dataset`: the training sets alone, into a private repository",
        "`HF_TOKEN=… dasd publish --public`: model and training sets, for everybody",
    ),
}
