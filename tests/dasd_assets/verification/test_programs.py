"""Programs of real data: standard input, assertions, and what is not right about an answer."""

from __future__ import annotations

from typing import Any

import pytest

from dasd_assets.profile import Verification
from dasd_assets.verification.graders import grade
from dasd_assets.verification.programs import grade_code, last_code_block, same_output
from dasd_assets.verification.sandbox import Limits

pytestmark = pytest.mark.slow

LIMITS = Limits(cpu_seconds=1, memory_mib=256)
ADD = {"tests": [{"input": "1 2\n", "output": "3\n"}, {"input": "20 22\n", "output": "42"}]}
DOUBLE = {"entry_point": "f", "assertions": ["assert f(1) == 2", "assert candidate(4) == 8"]}
SOLUTION = {
    "entry_point": "Solution",
    "assertions": ["assert Solution().add(1, 2) == 3", "assert Solution().add(0, 0) == 0"],
}
ADDS = "if __name__ == '__main__':\n    print(sum(map(int, input().split())))"


def fenced(code: str, language: str = "python") -> str:
    return f"Here it is:\n```{language}\n{code}\n```\nIt adds."


@pytest.mark.parametrize(
    ("code", "reference", "reason", "detail"),
    [
        ("a, b = map(int, input().split())\nprint(a + b)", ADD, "correct", ""),
        ("import sys\nprint(sum(map(int, sys.stdin.read().split())))", ADD, "correct", ""),
        ("print(3)", ADD, "failed_test", "test 2: printed '3', expected '42'"),
        ("print(3, 3)", ADD, "failed_test", "test 1: printed '3 3', expected '3'"),
        ("", ADD, "failed_test", "test 1: printed '', expected '3'"),
        ("print(1 / 0)", ADD, "runtime_error", "test 1: ZeroDivisionError: division by zero"),
        ("def f(:", ADD, "runtime_error", "test 1: SyntaxError: invalid syntax"),
        ("import numpy", ADD, "runtime_error", "test 1: ModuleNotFoundError: No module named"),
        ("while True: pass", ADD, "timeout", "test 1: "),
        ("x = [0] * 10 ** 10", ADD, "memory_limit", "test 1: MemoryError"),
        ("while True: print('a' * 9999)", ADD, "output_limit", "test 1: "),
        ("import os\nos.kill(os.getppid(), 2)", ADD, "failed_test", "test 1: "),
        ("def f(x):\n    return 2 * x", DOUBLE, "correct", ""),
        ("def f(x):\n    print('noise')\n    return 2 * x", DOUBLE, "correct", ""),
        ("def f(x): return 2", DOUBLE, "failed_test", "assertions: AssertionError"),
        ("def g(x): return 2 * x", DOUBLE, "failed_test", "assertions: KeyError: 'f'"),
        ("raise SystemExit(0)", DOUBLE, "failed_test", "assertions: "),
        ("import os\nos._exit(0)", DOUBLE, "failed_test", "assertions: not all were reached"),
        ("def f(x): raise SystemExit(0)", DOUBLE, "failed_test", "assertions: "),
        ("import os\ndef f(x): os._exit(0)", DOUBLE, "failed_test", "not all were reached"),
        ("def f(x):\n    while True: pass", DOUBLE, "timeout", "assertions: "),
        ("class Solution:\n    def add(self, a, b): return a + b", SOLUTION, "correct", ""),
        ("if input() == '1 2': print(3); exit()\nprint(42)", ADD, "correct", ""),
        ("if input() == '1 2': print(3); quit(0)\nprint(42)", ADD, "correct", ""),
        ("print(3)\nexit('no')", ADD, "runtime_error", "test 1: no"),
        ("import sys\nprint(sum(map(int, sys.stdin.buffer.read().split())))", ADD, "correct", ""),
        ("import sys\nprint(sum(map(int, sys.__stdin__.readline().split())))", ADD, "correct", ""),
        ("import os\nprint(sum(map(int, os.read(0, 99).split())))", ADD, "correct", ""),
        ("print(sum(map(int, open(0).read().split())))", ADD, "correct", ""),
        ("s = 0\ntry:\n    while 1: s += sum(map(int, input().split()))\n"
         "except EOFError: print(s)", ADD, "correct", ""),
        ("input()\ninput()", ADD, "runtime_error", "EOFError: EOF when reading a line"),
        ("import atexit\ns = sum(map(int, input().split()))\natexit.register(lambda: print(s))",
         ADD, "correct", ""),
        ("import sys, io\nout = io.StringIO()\nsys.stdout = out\n"
         "print(sum(map(int, input().split())))\nsys.__stdout__.write(out.getvalue())",
         ADD, "correct", ""),
        ("import threading, time\ndef go():\n    time.sleep(0.1)\n"
         "    print(sum(map(int, input().split())))\n"
         "threading.Thread(target=go).start()", ADD, "correct", ""),
        ("import pickle\nclass N: pass\nn = pickle.loads(pickle.dumps(N()))\n"
         "print(sum(map(int, input().split())))", ADD, "correct", ""),
        ("from __future__ import annotations\nfrom dataclasses import dataclass\n@dataclass\n"
         "class N:\n    x: int\ndef f(x): return 2 * N(x).x", DOUBLE, "correct", ""),
        ("if __name__ == '__main__': input()\ndef f(x): return 2 * x", DOUBLE, "correct", ""),
        (f"def f(x): return 2 * x\n{ADDS}", ADD | DOUBLE, "correct", ""),
        (f"def f(x): return x\n{ADDS}", ADD | DOUBLE, "failed_test", "assertions: AssertionError"),
    ],
)  # fmt: skip
def test_code(code: str, reference: dict[str, Any], reason: str, detail: str) -> None:
    result = grade_code(fenced(code), reference, LIMITS)
    assert (result.is_correct, result.reason) == (reason == "correct", reason)
    assert detail in result.detail
    assert result.extracted == code.strip()


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\na\n```", "a"),
        ("```\na\n```", "a"),
        ("```PY \na\n```", "a"),
        ("```python\na\n```\nor\n```python\nb\n```", "b"),
        ("```python\na\n```\nprints\n```text\nb\n```", "a"),
        ("```python\na\n```\nprints\n```\nb\n```", "a"),
        ("```python\na\n```\nrun\n```bash\npython a.py\n```", "a"),
        ("```python\na\n```\nfaster\n```cpp\nb\n```", None),
        ("```cpp\na\n```\n```\nb\n```", None),
        ('```python\nx = "```"\nprint(x)\n```', 'x = "```"\nprint(x)'),
        ("````python\nx = 1\n```\ny\n````", "x = 1\n```\ny"),
        ("~~~python\na\n~~~", "a"),
        ("~~~python\na\n```\n~~~", "a\n```"),
        ('```python title="a.py"\na\n```', "a"),
        ("```{.python .numberLines}\na\n```", "a"),
        ("```{python}\na\n```", "a"),
        ("```Python3\na\n```", "a"),
        ("1. So:\n\n   ```python\n   if a:\n       b\n   ```\n\n2. Done", "if a:\n    b"),
        ("> ```python\n> a\n> ```", "a"),
        ("<answer>\n```python\na\n```\n</answer>", "a"),
        ("  ```python\n  a\n    b\n  ```", "a\n  b"),
        ("```python\r\na\r\n```", "a"),
        ("```python\na\n```\n```python\nnever closed", "a"),
        ("```python\n```", ""),
        (">" * 50_000 + "```python\na\n```", None),
        ("```cpp\na\n```", None),
        ("```python\na", None),
        ("a", None),
        ("use ```a``` here", None),
        ("```python\na\n```\nthen ```", "a"),
    ],
)
def test_the_last_closed_block_that_is_tagged_is_judged_if_it_is_python(
    text: str, code: str | None
) -> None:
    assert last_code_block(text) == code


@pytest.mark.parametrize(
    ("printed", "expected", "is_same"),
    [
        ("3", "3\n", True),
        ("3\n\n", "3", True),
        ("1  2 \n3", "1 2\n3", True),
        ("1 2 3", "1 2\n3", False),
        ("1\n\n2", "1\n2", False),
        ("YES", "Yes", False),
        ("0.3333333", "0.33333333333", True),
        ("0.3333", "0.33333333333", False),
        ("1234567.8", "1234567.9", True),
        ("1e3", "1000.0", True),
        ("1.0", "1", False),
        ("10000000000000000", "10000000000000001", False),
        ("nan", "1.5", False),
        ("x", "1.5", False),
        ("", "", True),
    ],
)
def test_outputs_are_compared_word_by_word(printed: str, expected: str, is_same: bool) -> None:
    assert same_output(printed, expected) is is_same


def test_the_limits_are_those_of_the_profile() -> None:
    settings = Verification(code_seconds=0.5, code_memory_mib=128)
    program = fenced("x = bytearray(200 << 20)\nprint(sum(map(int, input().split())))")
    assert grade("code", program, ADD, settings).reason == "memory_limit"
    assert grade("code", program, ADD).reason == "correct"
    slow = fenced("while True: pass")
    assert grade("code", slow, ADD, settings).reason == "timeout"


def test_the_programs_input_never_sees_what_is_expected() -> None:
    program = "import gc\nprint(any('4242' in str(o) for o in gc.get_objects() if type(o) is str))"
    reference = {"tests": [{"input": "", "output": "4242"}]}
    result = grade_code(fenced(program), reference, LIMITS)
    assert result.detail == "test 1: printed 'False', expected '4242'"


WRONG = "def f(x): return 0"
CHEATS = {
    "exec": "import builtins\nbuiltins.exec = lambda *a, **k: None",
    "compile": "import builtins\nbuiltins.compile = lambda *a, **k: '0'",
    "print": "import builtins\nbuiltins.print = lambda *a, **k: None",
    "the exit": "import os\nos._exit = lambda status: None",
    "the write": "import os\nos.write = lambda *a: None\nos.close = lambda *a: None",
    "the error": "import builtins\nclass E(Exception): pass\nbuiltins.AssertionError = E",
    "all of them": "import builtins, os\nfor m in (builtins, os):\n"
    "    for n in list(vars(m)):\n        if n in ('exec', 'compile', '_exit', 'write', 'fork'):\n"
    "            setattr(m, n, lambda *a, **k: None)",
    "the file of the verdict": "import os\nfor d in range(3, 60):\n"
    "    try: os.write(d, b'x' * 16)\n"
    "    except OSError: pass",
    "the main module": "import sys\nm = sys.modules['__main__']\n"
    "m._reply = m._run = lambda *a: None",
    "the exit functions": "import atexit, os\natexit.register(lambda: os._exit(0))",
    "the trace": "import sys\nsys.settrace(lambda *a: None)\nsys.excepthook = lambda *a: None",
    "the exit of threads": "import threading, os\nthreading._shutdown = lambda: os._exit(0)",
}


@pytest.mark.parametrize("cheat", CHEATS)
def test_a_program_cannot_replace_what_judges_it(cheat: str) -> None:
    result = grade_code(fenced(f"{CHEATS[cheat]}\n{WRONG}"), DOUBLE, LIMITS)
    assert (result.is_correct, result.reason) == (False, "failed_test")


TAKE = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
REPLY = b'{"ended": "finished", "printed": "Mw==", "errors": "", "held": true}\\n'
taken = []
for process in range(1, 20):
    try: pidfd = os.pidfd_open(process)
    except OSError: continue
    if process == os.getpid(): continue
    for descriptor in range(20):
        got = libc.syscall(438, pidfd, descriptor, 0)
        if got >= 0:
            taken.append((process, descriptor))
            try: os.write(got, REPLY * 9)
            except OSError: pass
"""


def test_no_pipe_can_be_taken_from_another_process() -> None:
    result = grade_code(fenced(TAKE + "print(taken)"), ADD, LIMITS)
    assert result.detail == "test 1: printed '[]', expected '3'"
    assert grade_code(fenced(TAKE + WRONG), DOUBLE, LIMITS).reason == "failed_test"


def test_a_very_long_program_is_not_run() -> None:
    result = grade_code(fenced("x = 1\n" * 20_000), ADD, LIMITS)
    assert result.reason == "code_too_long"
