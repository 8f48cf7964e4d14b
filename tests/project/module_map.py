"""Write the map of all modules into docs/architecture.md, from the docstrings: `make map`."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/architecture.md"
_PACKAGE = ROOT / "gateway"
_BEGIN = "<!-- map: written by `make map` -->"
_END = "<!-- end of the map -->"


def page_with_map() -> str:
    """The page with the map as it should be; the text around the two marks stays."""
    before, _, rest = PAGE.read_text().partition(_BEGIN)
    _, mark, after = rest.partition(_END)
    if not mark:
        raise ValueError(f"{PAGE} lacks the marks {_BEGIN!r} and {_END!r}")
    tables = "\n".join(_tables())
    return f"{before}{_BEGIN}\n\n{tables}\n{_END}{after}"


def summary_of(module: Path) -> str:
    """The first sentence of a module's docstring, on one line, as the cell of a table."""
    text = ast.get_docstring(ast.parse(module.read_text())) or ""
    paragraph = " ".join(text.partition("\n\n")[0].split())
    sentence, stop, _ = paragraph.partition(". ")
    return _escaped((sentence + stop.strip()).replace("|", "\\|"))


def _escaped(text: str) -> str:
    """Keep Markdown from reading a `<` outside of code as HTML."""
    pieces = text.split("`")
    pieces[::2] = [piece.replace("<", "&lt;") for piece in pieces[::2]]
    return "`".join(pieces)


def _tables() -> Iterator[str]:
    """One table for the modules at the top, and one for each folder with those below it."""
    tops = [path for path in sorted(_PACKAGE.iterdir()) if (path / "__init__.py").exists()]
    yield from _table("gateway/", sorted(_PACKAGE.glob("*.py")))
    for top in tops:
        yield from _table(f"{top.name}/", sorted(top.rglob("*.py"), key=_place))


def _place(module: Path) -> tuple[Path, bool, str]:
    """A folder comes before its modules, and the modules of a folder before its folders."""
    return (module.parent, module.name != "__init__.py", module.name)


def _table(title: str, modules: list[Path]) -> Iterator[str]:
    yield from (f"### `{title}`", "", "| module | what it does |", "|---|---|")
    for module in modules:
        name = module.relative_to(_PACKAGE).as_posix()
        if module.name != "__init__.py":
            yield f"| `{name}` | {summary_of(module)} |"
        elif module.parent != _PACKAGE:
            yield f"| **`{name.removesuffix('__init__.py')}`** | {summary_of(module)} |"
    yield ""


if __name__ == "__main__":
    PAGE.write_text(page_with_map())
