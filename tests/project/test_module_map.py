"""The map in docs/architecture.md is the one that the docstrings give."""

from pathlib import Path

from tests.project.module_map import PAGE, page_with_map, summary_of

PACKAGE = Path(__file__).parents[2] / "gateway"


def test_the_map_is_as_generated() -> None:
    assert PAGE.read_text() == page_with_map(), "run: make map"


def test_every_module_says_what_it_does() -> None:
    silent = {
        module.relative_to(PACKAGE).as_posix()
        for module in PACKAGE.rglob("*.py")
        if not summary_of(module).endswith((".", ":"))
    }
    assert silent == set()
