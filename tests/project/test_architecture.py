"""The layers, fences and caps of the package hold."""

import ast
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
MODULES = sorted(ROOT.glob("gateway/**/*.py"))
TESTS = [file for file in ROOT.glob("tests/**/*.py") if "node_modules" not in file.parts]
LINES_PER_MODULE = 400
LINES_PER_FUNCTION = 50
FILES_PER_FOLDER = 15


def test_imports_point_down() -> None:
    done = subprocess.run(
        (Path(sys.executable).with_name("lint-imports"), "--no-logo", "--no-cache"),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_web_opens_no_transactions() -> None:
    opened = [
        f"{module.relative_to(ROOT)}:{node.lineno}"
        for module in MODULES
        if module.is_relative_to(ROOT / "gateway/web")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Attribute) and node.attr == "db"
    ]
    assert opened == []


def _functions(module: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    return (function.end_lineno or function.lineno) - function.lineno + 1


def test_modules_and_functions_fit_in_the_head() -> None:
    long_modules = {
        str(module.relative_to(ROOT)): lines
        for module in MODULES
        if (lines := len(module.read_text().splitlines())) > LINES_PER_MODULE
    }
    long_functions = {
        f"{module.relative_to(ROOT)}:{function.lineno} {function.name}": _lines(function)
        for module in MODULES
        for function in _functions(module)
        if _lines(function) > LINES_PER_FUNCTION
    }
    assert (long_modules, long_functions) == ({}, {})


def test_a_folder_holds_at_most_15_modules() -> None:
    files = Counter(module.parent.relative_to(ROOT).as_posix() for module in [*MODULES, *TESTS])
    assert {folder: n for folder, n in files.items() if n > FILES_PER_FOLDER} == {}


def test_class_names_are_used_once() -> None:
    """But for the simulator, which stands in for another service with words of its own."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for module in MODULES:
        if module.is_relative_to(ROOT / "gateway/simulator"):
            continue
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(module.relative_to(ROOT).as_posix())
    assert {name: where for name, where in places.items() if len(where) > 1} == {}


def test_core_waits_for_nothing() -> None:
    waiting = [
        f"{module.name}:{function.lineno} {function.name}"
        for module in ROOT.glob("gateway/core/**/*.py")
        for function in _functions(module)
        if isinstance(function, ast.AsyncFunctionDef)
    ]
    assert not waiting


# They print what is their own; whatever comes from elsewhere goes through cli/terminal/output.py.
_PRINTERS = {
    "dev/command.py",
    "dev/demo.py",
    "events/listen.py",
    "group.py",
    "operate/config.py",
    "server/receiver.py",
    "terminal/output.py",
    "version.py",
}


def test_commands_print_through_one_place() -> None:
    printing = {
        module.relative_to(ROOT / "gateway/cli").as_posix()
        for module in ROOT.glob("gateway/cli/**/*.py")
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) in ("print", "click.echo", "click.secho", "console.print")
    }
    assert printing <= _PRINTERS
