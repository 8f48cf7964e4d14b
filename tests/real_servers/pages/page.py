"""Runs the commands of a page of docs/ and compares their output with what the page shows.

A block of `console` has commands after `$ ` (on a host with the gateway's settings) or `postgres$ `
(as that account, on the database's host), continued after `> `, and below each what it prints. In that,
`...` stands for any text, and a number or an id for any other one.
"""

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.bench.harness.parts import bare_environment
from tests.conftest import ROOT
from tests.real_servers.pages.cluster import Cluster

_COMMAND = re.compile(r"^(postgres)?\$ (.+)$")
_ID = re.compile(r"\b[0-9a-f]{8}\b")
_NUMBER = re.compile(r"\d+")


@dataclass(frozen=True, slots=True)
class Command:
    """A command of a page: who runs it, and what it shows."""

    as_server: bool
    text: str
    shows: str


def commands(page: str, heading: str) -> list[Command]:
    """The commands in the section of a heading, without those of its own sections."""
    text = (ROOT / "docs" / page).read_text()
    found = re.search(
        rf"^#+ {re.escape(heading)}\n(.*?)(?=^#+ [A-Z]|\Z)", text, re.MULTILINE | re.DOTALL
    )
    assert found, f"{page} has no section '{heading}'"
    blocks = re.findall(r"^( *)```console\n(.*?)^ *```$", found[1], re.MULTILINE | re.DOTALL)
    lines = [line.removeprefix(indent) for indent, block in blocks for line in block.splitlines()]
    return list(_parse(lines))


def _parse(lines: list[str]) -> Iterator[Command]:
    said: list[str] = []
    text, as_server = "", False
    for line in lines:
        if begins := _COMMAND.match(line):
            if text:
                yield Command(as_server, text, "\n".join(said))
            as_server, text, said = bool(begins[1]), begins[2], []
        elif line.startswith("> ") and not said:
            text += f"\n{line[2:]}"
        else:
            said.append(line)
    if text:
        yield Command(as_server, text, "\n".join(said))


def matches(shows: str, said: str) -> bool:
    """Whether output is as a page shows it, but for numbers, ids, and the width of columns."""
    pieces, rest = _alike(shows).split("..."), _alike(said)
    if len(pieces) == 1:
        return rest == pieces[0]
    first, *between, last = (piece.strip() for piece in pieces)
    if not (rest.startswith(first) and rest.endswith(last)):
        return False
    at = len(first)
    for piece in between:
        at = rest.find(piece, at)
        if at < 0:
            return False
        at += len(piece)
    return at <= len(rest) - len(last)


def _alike(text: str) -> str:
    """Text in which all numbers, all ids, and all white space are the same."""
    return _NUMBER.sub("0", _ID.sub("id", " ".join(text.split())))


async def follow(cluster: Cluster, page: str, heading: str, **settings: str) -> str:
    """Run all commands of a section, in order; each must end well and print what the page shows.

    Returns what they printed.
    """
    told: list[str] = []
    programs = os.pathsep.join((str(Path(sys.executable).parent), cluster.environment["PATH"]))
    given = {**settings, "PATH": programs}
    found = commands(page, heading)
    assert found, f"{page}: '{heading}' has no commands"
    for command in found:
        more = given if command.as_server else {**bare_environment(), **given}
        status, said = await cluster.shell(command.text, as_server=command.as_server, **more)
        assert matches(command.shows, said), (
            f"$ {command.text}\n{said}\nThe page shows:\n{command.shows}"
        )
        assert status == 0 or "Error" in command.shows, f"$ {command.text}\n{said}"
        told.append(said)
    return "".join(told)
