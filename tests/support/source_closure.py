"""Which files of the project a test file stands on, found in the files themselves.

Followed are imports wherever they stand, and names of modules in the texts of a file, which are
what it starts as processes (`-m training.sft`, a program after `-c`) or has others import. Names of
programs count as the modules that `pyproject.toml` says they start, that of a YAML file as the
modules that files of this name in `deploy/` tell Dagster to load, and `worker.py` as the file of
that name beside it. Docstrings are no such texts. Of a `conftest.py` counts what all tests below it
execute, and the fixtures whose names they use.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

DOTTED = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+")
CONFTEST = "conftest.py"
IMPORTED_AHEAD = {
    "dasd_assets/running/local_run.py": "dasd_assets/graph.py",
    "dasd_assets/running/local_executor.py": "dasd_assets/definitions.py",
}
"""What a module has a fork server import, only so that its forks find it imported: no import."""


class Sources:
    """The Python files of a project, by the names under which they are imported."""

    def __init__(self, root: Path) -> None:
        """Read what `pyproject.toml` says of the project's programs."""
        self._root = root
        settings = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
        self._programs = {
            name: target.partition(":")[0]
            for name, target in settings["project"]["scripts"].items()
        }
        definitions = settings["tool"]["dg"]["project"]["code_location_target_module"]
        self._programs |= dict.fromkeys({"dagster", "dagster-webserver", "dg"}, definitions)
        self._yaml: dict[str, list[Path]] = {}
        for file in [*root.glob("*.yaml"), *(root / "deploy").rglob("*.yaml")]:
            self._yaml.setdefault(file.name, []).append(file)
        self._direct: dict[Path, set[Path]] = {}

    def closure(self, *test_files: Path) -> set[Path]:
        """The files and all that they stand on, through any number of steps."""
        found: set[Path] = set()
        for test_file in test_files:
            found |= self._closure(test_file)
        return found

    def _closure(self, test_file: Path) -> set[Path]:
        conftests = [
            folder / CONFTEST
            for folder in test_file.parents
            if folder.is_relative_to(self._root) and (folder / CONFTEST).is_file()
        ]
        found = {test_file, *conftests}
        used = [_parsed(test_file), *_executed(test_file, conftests)]
        waiting = [file for tree in used for file in self._files(tree, test_file.parent)]
        while waiting:
            file = waiting.pop()
            if file not in found:
                found.add(file)
                if file not in self._direct:
                    ahead = IMPORTED_AHEAD.get(file.relative_to(self._root).as_posix(), "")
                    self._direct[file] = set(self._files(_parsed(file), file.parent))
                    self._direct[file].discard(self._root / ahead)
                waiting += self._direct[file]
        return found

    def _files(self, tree: ast.AST, folder: Path) -> Iterator[Path]:
        """Files that are executed when a module is imported or started, as far as they are here."""
        for name in {*_imported(tree), *self._named(tree)}:
            for top in (self._root, self._root / "tests"):
                yield from _on_the_way(top, name.split("."))
            if name.endswith(".py") and (folder / name).is_file():
                yield folder / name

    def _named(self, tree: ast.AST) -> Iterator[str]:
        alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and id(node) not in alone:
                files = self._yaml.get(str(node.value), ())
                texts = [str(node.value), *(file.read_text(encoding="utf-8") for file in files)]
                for text in texts:
                    yield from DOTTED.findall(text)
        for program in _started(tree):
            if program in self._programs:
                yield self._programs[program]


def _on_the_way(place: Path, parts: list[str]) -> Iterator[Path]:
    for part in parts:
        place /= part
        if place.with_suffix(".py").is_file():
            yield place.with_suffix(".py")
        if not place.is_dir():
            return
        yield from filter(Path.is_file, (place / "__init__.py", place / "__main__.py"))


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _started(tree: ast.AST) -> Iterator[object]:
    """What may be a program: beside this Python, or the first word of a command."""
    for node in ast.walk(tree):
        first: list[ast.expr] = []
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".with_name", "which")):
            first = node.args[:1]
        elif isinstance(node, ast.List | ast.Tuple):
            first = node.elts[:1]
        yield from (each.value for each in first if isinstance(each, ast.Constant))


def _executed(test_file: Path, conftests: list[Path]) -> Iterator[ast.AST]:
    """What the tests of a file execute of its conftests, which may be that file itself."""
    used = _words(_parsed(test_file))
    fixtures: list[ast.FunctionDef] = []
    for conftest in conftests:
        for node in _parsed(conftest).body:
            if isinstance(node, ast.FunctionDef) and _is_asked_for(node):
                fixtures.append(node)
            else:
                yield node
    while counted := [fixture for fixture in fixtures if fixture.name in used]:
        for fixture in counted:
            fixtures.remove(fixture)
            used |= _words(fixture)
            yield fixture


def _is_asked_for(function: ast.FunctionDef) -> bool:
    """Whether it is a fixture that only those get who name it."""
    decorators = [ast.unparse(decorator) for decorator in function.decorator_list]
    return any("pytest.fixture" in one and "autouse" not in one for one in decorators)


def _words(tree: ast.AST) -> set[str]:
    """All that can name a fixture: arguments, and texts such as `usefixtures` takes."""
    words = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    return words | {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


def _parsed(file: Path) -> ast.Module:
    return _WithoutTypes().visit(ast.parse(file.read_text(encoding="utf-8")))


class _WithoutTypes(ast.NodeTransformer):
    """Leaves out what is there for the type checker and never executed."""

    def visit_If(self, node: ast.If) -> ast.AST | None:
        if ast.unparse(node.test) == "TYPE_CHECKING":
            return ast.Pass()
        return self.generic_visit(node)
