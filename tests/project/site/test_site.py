"""The site is built without a warning, shows what the pages say, and loads nothing from other hosts."""

import os
import re
import subprocess
import sys
from collections import Counter
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
import yaml
from markdown_it import MarkdownIt
from typing_extensions import override

from tests.project.site.lists import for_python_markdown

ROOT = Path(__file__).parents[3]
# What a reader would miss.
_COUNTED = frozenset({"h1", "h2", "h3", "table", "tr", "ul", "ol", "li", "pre"})
_LOADED = {"script": "src", "link": "href", "img": "src", "iframe": "src"}


class _Elements(HTMLParser):
    """The elements of a page, or of its article, and where it leads and loads from."""

    def __init__(self) -> None:
        super().__init__()
        self.counted: Counter[str] = Counter()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.ids: set[str] = set()
        self._is_article = False

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self._is_article |= tag == "article"
        self.counted.update([tag] if self._is_article and tag in _COUNTED else [])
        self.ids.add(values.get("id", ""))
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if _LOADED.get(tag) in values and values.get("rel") != "canonical":
            self.loaded.append(values[_LOADED[tag]])

    @override
    def handle_endtag(self, tag: str) -> None:
        self._is_article &= tag != "article"


def _elements(html: str) -> _Elements:
    parser = _Elements()
    parser.feed(html)
    return parser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("material") is None:
        pytest.skip("mkdocs-material is not installed: make deploy-tools installs it")
    folder = tmp_path_factory.mktemp("site")
    built = subprocess.run(
        (sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(folder)),
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.stdout + built.stderr == "", "mkdocs build warns"
    assert built.returncode == 0
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, _Elements]:
    return {path: _elements(path.read_text()) for path in site.rglob("*.html")}


def _source_of(page: Path) -> Path:
    """The file that a page of the site was made of."""
    if page == Path("index.html"):
        return ROOT / "README.md"
    for place in (ROOT / "docs", ROOT):
        names = [page.with_suffix(".md")]
        if page.stem == "index":
            names.append(page.with_name("README.md"))
        for name in names:
            if (place / name).exists():
                return place / name
    return ROOT / "missing"


def test_every_page_of_docs_is_in_the_site(site: Path, pages: dict[Path, _Elements]) -> None:
    shown = {_source_of(page.relative_to(site)) for page in pages}
    assert set((ROOT / "docs").rglob("*.md")) - shown == set()


def test_a_page_shows_what_its_file_says(site: Path, pages: dict[Path, _Elements]) -> None:
    """Python-Markdown reads other lists and tables than CommonMark, and shows them as one paragraph."""
    markdown, differing = MarkdownIt("commonmark").enable("table"), dict[str, object]()
    for page, elements in pages.items():
        source = _source_of(page.relative_to(site))
        if not source.exists():
            continue
        said = _elements(f"<article>{markdown.render(source.read_text())}</article>").counted
        if said != elements.counted:
            differing[str(source.relative_to(ROOT))] = (
                said - elements.counted,
                elements.counted - said,
            )
    assert differing == {}


def test_every_link_leads_somewhere(site: Path, pages: dict[Path, _Elements]) -> None:
    dead: list[tuple[str, str]] = []
    for page, elements in pages.items():
        for link in elements.links:
            parts = urlsplit(link)
            target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            is_ours = not parts.scheme and page.name != "404.html"
            known = pages[target].ids if target in pages else {parts.fragment}
            if is_ours and not (target.exists() and unquote(parts.fragment) in known | {""}):
                dead.append((str(page.relative_to(site)), link))
    assert dead == []


def test_nothing_is_loaded_from_other_hosts(site: Path, pages: dict[Path, _Elements]) -> None:
    loaded = {one for elements in pages.values() for one in elements.loaded}
    assert loaded
    assert [
        one for one in loaded if re.match(r"\w+:|//", one) and not one.startswith("data:")
    ] == []
    # These two make the theme's script load a program that draws them.
    assert [
        page for page in pages if re.search(r'class="[^"]*(mermaid|glightbox)', page.read_text())
    ] == []


def test_the_search_knows_every_page(site: Path) -> None:
    index = (site / "search/search_index.json").read_text()
    for page in sorted((ROOT / "docs").glob("*.md")):
        assert f'"location":"{page.stem}.html"' in index, page.name


def test_the_site_is_where_git_ignores_it() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    place = yaml.safe_load(text[: text.index("theme:")])["site_dir"]
    ignored = (ROOT / ".gitignore").read_text().split()
    assert f"/{place.partition('/')[0]}/" in ignored


@pytest.mark.parametrize(
    ("written", "made"),
    [
        ("words\n- a\n- b\n\nend", "words\n\n- a\n- b\n\nend"),
        ("- a\n  b\n  - c\n    d\n- e", "- a\n    b\n    - c\n        d\n- e"),
        ("1. a\n\n   ```sh\n   - b\n   ```\n2. c", "1. a\n\n    ```sh\n    - b\n    ```\n\n2. c"),
        ("- a\n\n  b\n- c", "- a\n\n    b\n\n- c"),
        ("```python run\n- a\n```\n- b", "```python\n- a\n```\n\n- b"),
        ("    - code\n", "    - code\n"),
    ],
    ids=["after a paragraph", "nested", "with code", "after paragraphs", "a fence", "code"],
)
def test_lists_are_indented_for_python_markdown(written: str, made: str) -> None:
    assert for_python_markdown(written) == made
