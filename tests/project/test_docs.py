"""The documentation matches the code: links resolve, examples run, lists are complete."""

import re
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote, urlsplit

import click
import pytest
from click.testing import CliRunner
from markdown_it import MarkdownIt
from markdown_it.token import Token

from gateway.cli import cli
from gateway.core import lifecycle
from gateway.core.events import EVENT_TYPES
from gateway.core.explain.failure_advice import JOB_ADVICE, WAIT_ADVICE, WEBHOOK_ADVICE
from gateway.core.waits_for import WaitCode
from gateway.errors import GatewayError
from gateway.exposition import ProcessState, ReplicaUse, exposition
from gateway.flows.health.overview import Overview
from gateway.store.database import PoolUse
from gateway.store.work.queues import REASONS

ROOT = Path(__file__).parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
ERRORS = ROOT / "docs/errors.md"
RUN = "python run"


@cache
def _tokens(page: Path) -> list[Token]:
    """A page is parsed once for all that is asked of it."""
    return MarkdownIt("commonmark").enable("table").parse(page.read_text())


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _code(page: Path) -> str:
    """All code of a page, blocks and spans, one piece per line."""
    pieces = [token.content for token in _tokens(page) if token.type == "fence"]
    for token in _tokens(page):
        pieces += [child.content for child in token.children or () if child.type == "code_inline"]
    return "\n".join(pieces)


def _links(page: Path) -> Iterator[str]:
    for token in _tokens(page):
        for child in token.children or ():
            link = child.attrGet("href") or child.attrGet("src")
            if isinstance(link, str):
                yield link


def _anchors(page: Path) -> set[str]:
    tokens = _tokens(page)
    headings = (
        text.content for opening, text in pairwise(tokens) if opening.type == "heading_open"
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _dead(page: Path, link: str) -> bool:
    parts = urlsplit(link)
    if parts.scheme:
        return False
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    return not target.exists() or bool(parts.fragment and parts.fragment not in _anchors(target))


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_resolve(page: Path) -> None:
    assert [link for link in _links(page) if _dead(page, link)] == []


def _runnable(page: Path) -> list[Token]:
    if RUN not in page.read_text():  # each worker asks all pages as it collects
        return []
    return [token for token in _tokens(page) if token.type == "fence" and token.info == RUN]


@pytest.mark.parametrize("page", [page for page in PAGES if _runnable(page)], ids=_name)
def test_examples_run(page: Path) -> None:
    """The blocks of a page run in order and share their names."""
    names: dict[str, object] = {}
    for block in _runnable(page):
        first_line = (block.map or [0])[0] + 1
        exec(compile("\n" * first_line + block.content, page, "exec"), names)


def _rows(page: Path, heading: str) -> dict[str, list[str]]:
    """The table under a heading: the other cells by the first one, without its backticks."""
    section = page.read_text().partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line[:3] == "| `"]
    return {first.strip("`"): rest for first, *rest in lines}


def _errors(root: type[GatewayError] = GatewayError) -> Iterator[type[GatewayError]]:
    yield root
    for error in root.__subclasses__():
        yield from _errors(error)


def test_every_error_code_is_explained() -> None:
    statuses: dict[str, set[int]] = {}
    for error in _errors():
        statuses.setdefault(error.code, set()).add(error.status)
    documented = _rows(ERRORS, "What a request can be refused with")
    assert {
        code: {int(status) for status in cells[0].split(", ")} for code, cells in documented.items()
    } == statuses
    assert {len(cells) for cells in documented.values()} == {4}


def test_every_failure_of_a_job_is_explained() -> None:
    ends = [
        lifecycle.expired(),
        lifecycle.cancelled(),
        lifecycle.lost(),
        lifecycle.unreadable(),
        lifecycle.out_of_reach(),
        lifecycle.given_up(5),
    ]
    documented = _rows(ERRORS, "Why a job failed")
    for error in (end.error for end in ends):
        assert error is not None
        assert documented[error.code][:2] == [error.origin, "yes" if error.retryable else "no"]
    for code in ("BAD_INPUT", "TIMEOUT", "INTERNAL_ERROR", "UNKNOWN"):
        error = lifecycle.error_of(code, "", "")
        assert documented[code][:2] == [error.origin, "yes" if error.retryable else "no"]


def test_commands_and_page_give_the_same_advice() -> None:
    for heading, advice in (
        ("Why a job failed", JOB_ADVICE),
        ("Why a webhook failed", WEBHOOK_ADVICE),
    ):
        assert advice == {code: cells[-1] for code, cells in _rows(ERRORS, heading).items()}
    waits = _rows(ROOT / "docs/metrics.md", "What a job waits for")
    assert {code: tuple(cells[-2:]) for code, cells in waits.items()} == WAIT_ADVICE


def test_every_event_type_is_explained() -> None:
    assert _rows(ROOT / "docs/webhooks.md", "Types").keys() == set(EVENT_TYPES)


def test_named_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {target for page in PAGES for target in re.findall(r"make ([a-z-]+)", _code(page))}
    assert {"demo", "test"} <= named <= targets


def _is_command(words: list[str]) -> bool:
    """Whether the words name a command of the gateway, or a group of commands."""
    if words[0] not in cli.lazy:
        return False
    command = cli.load(words[0])
    if not isinstance(command, click.Group):
        return True
    return len(words) == 1 or words[1] in command.commands


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_named_commands_exist(page: Path) -> None:
    named = re.findall(
        r"(?:^|(?<!The)(?<!the)[ (])gateway ([a-z]+(?: [a-z]+(?:-[a-z]+)*)?)",
        _code(page),
        re.MULTILINE,
    )
    assert [words for words in named if not _is_command(words.split())] == []


def _commands() -> Iterator[str]:
    for name in cli.lazy:
        command = cli.load(name)
        if isinstance(command, click.Group):
            yield from (f"gateway {name} {one}" for one in command.commands)
        if not isinstance(command, click.Group) or command.invoke_without_command:
            yield f"gateway {name}"


def test_every_command_is_documented() -> None:
    page = _code(ROOT / "docs/cli.md")
    assert [words for words in _commands() if not re.search(rf"{words}(?![a-z-])", page)] == []


def test_the_settings_page_is_as_generated() -> None:
    printed = CliRunner().invoke(cli, ["config", "docs"])
    assert printed.exit_code == 0, printed.output
    page = (ROOT / "docs/settings.md").read_text()
    assert page == printed.stdout, "run: gateway config docs > docs/settings.md"


# Files that are not the project's.
_STRANGERS = {"pg_hba.conf", "verify.mjs"}


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_named_files_exist(page: Path) -> None:
    """A page names files from the root, from one of these folders, or from its own."""
    folders = ("", "gateway", "docs", "deploy/monitoring")
    places = (*(ROOT / folder for folder in folders), page.parent)
    named = re.findall(
        r"(?<![\w:/.$~-])(?:[\w.-]+/)*[\w-]+\.(?:py|md|ya?ml|cfg|conf|sql|toml|ts|mjs)\b",
        page.read_text(),
    )
    named += re.findall(r"`((?:\w+/)+)`", page.read_text())
    missing = {name for name in named if not any((place / name).exists() for place in places)}
    assert {name for name in missing if Path(name).name not in _STRANGERS} == set()


def _metrics() -> set[str]:
    process = ProcessState(True, True, PoolUse(1, 0, 0), 0.0, 0.0, ReplicaUse(True, 0.0))
    page = exposition(process, Overview({}, [], [], {}, None, None)).decode()
    names = set(re.findall(r"^# TYPE (gw_\w+)", page, re.MULTILINE))
    return {name for name in names if not name.endswith("_created")}


def test_every_metric_is_explained() -> None:
    page = ROOT / "docs/metrics.md"
    documented = page.read_text().partition("\n## Every metric\n")[2]
    assert set(re.findall(r"\bgw_[a-z_]+", documented)) == _metrics()


def test_every_reason_to_wait_is_explained() -> None:
    page = (ROOT / "docs/metrics.md").read_text()
    codes = {code.value for code in WaitCode}
    assert set(_rows(ROOT / "docs/metrics.md", "What a job waits for")) == codes
    for reason in (reason for reasons in REASONS.values() for reason in reasons):
        assert f"`{reason}`" in page, reason


def test_named_metrics_exist() -> None:
    known = _metrics()
    # The changelog names metrics by their former names, too.
    pages = [page for page in PAGES if page.name != "CHANGELOG.md"]
    named = {name for page in pages for name in re.findall(r"\bgw_[a-z_]+", page.read_text())}
    assert named
    assert named - known == set()
