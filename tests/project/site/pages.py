"""Adapts the pages to the site of mkdocs.yml, where MkDocs calls it: `make site`.

The pages are written for people who read them as files, so links lead to any file of the repository. MkDocs
knows only files below docs/. What is linked to is added to the site, and links are made to lead there.
"""

import re
from pathlib import Path
from posixpath import dirname, join, normpath, relpath

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from tests.project.site.lists import for_python_markdown

ROOT = Path(__file__).parents[3]
ROOT_PAGES = ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
# Sections of the navigation that are whole folders of docs/.
FOLDERS = {"Decisions": "decisions", "Runbooks": "runbooks"}
_LINK = re.compile(r"\]\((?!\w+:|#|/)([^)#\s]+)(#[^)\s]*)?\)")


def on_config(config: MkDocsConfig) -> None:
    """List whole folders in the navigation."""
    for title, folder in FOLDERS.items():
        names = sorted(path.name for path in (ROOT / "docs" / folder).glob("*.md"))
        index = "README.md" if "README.md" in names else "index.md"
        pages = [index, *(name for name in names if name != index)]
        config.nav = [*(config.nav or []), {title: [f"{folder}/{name}" for name in pages]}]


def on_files(files: Files, config: MkDocsConfig) -> None:
    """Add what the pages link to, and what is linked to from there."""
    waiting = {*ROOT_PAGES, *(f"docs/{file.src_uri}" for file in files.documentation_pages())}
    done = set[str]()
    while waiting - done:
        path = min(waiting - done)
        done.add(path)
        if files.get_file_from_path(_uri(path)) is None:
            files.append(_file(path, config))
        waiting |= set(_linked(path))


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page with its links inside of the site, in MkDocs's kind of Markdown."""
    source = page.file.abs_src_path
    if source is not None:
        path = Path(source).relative_to(ROOT).as_posix()
        markdown = _LINK.sub(lambda link: _relinked(link, path), markdown)
    return for_python_markdown(markdown)


def _uri(path: str) -> str:
    """Where a file of the repository is in the site; a folder is a page that lists it."""
    if path == "README.md":
        return "index.md"
    if (ROOT / path).is_dir():
        path += "/index.md"
    return path.removeprefix("docs/")


def _target(link: re.Match[str], page: str) -> str:
    return normpath(join(dirname(page), link[1]))


def _linked(path: str) -> list[str]:
    """What a page links to, and what a folder lists."""
    file = ROOT / path
    if file.is_dir():
        return [f"{path}/{name.name}" for name in file.iterdir() if not name.name.startswith(".")]
    if file.suffix != ".md":
        return []
    targets = (_target(link, path) for link in _LINK.finditer(file.read_text()))
    return [target for target in targets if (ROOT / target).exists()]


def _relinked(link: re.Match[str], page: str) -> str:
    target = _target(link, page)
    if not (ROOT / target).exists():
        return link[0]  # MkDocs reports it
    return f"]({relpath(_uri(target), dirname(_uri(page)))}{link[2] or ''})"


def _file(path: str, config: MkDocsConfig) -> File:
    if not (ROOT / path).is_dir():
        return File.generated(config, _uri(path), abs_src_path=str(ROOT / path))
    lines = [
        f"- [{_title(entry)}]({relpath(_uri(entry), dirname(_uri(path)))})"
        for entry in sorted(_linked(path))
    ]
    return File.generated(config, _uri(path), content="\n".join([f"# {path}/", "", *lines, ""]))


def _title(path: str) -> str:
    """The heading of a page, or the name of a file."""
    if path.endswith(".md"):
        return (ROOT / path).read_text().partition("\n")[0].removeprefix("# ")
    return path.rpartition("/")[2]
