"""A finding of `gateway doctor`: a level, a sentence, advice."""

from dataclasses import dataclass
from enum import IntEnum


class Level(IntEnum):
    """How serious a finding is; the worst one decides the exit status."""

    OK = 0
    WARNING = 1
    ERROR = 2


@dataclass(frozen=True, slots=True)
class DoctorFinding:
    """One result of a check: what it is about, what was found, and what to do about it."""

    subject: str
    level: Level
    text: str
    advice: str = ""


def fine(subject: str, text: str) -> DoctorFinding:
    """Make a finding that needs no action."""
    return DoctorFinding(subject, Level.OK, text)


def doubtful(subject: str, text: str, advice: str) -> DoctorFinding:
    """Make a warning."""
    return DoctorFinding(subject, Level.WARNING, text, advice)


def wrong(subject: str, text: str, advice: str) -> DoctorFinding:
    """Make an error."""
    return DoctorFinding(subject, Level.ERROR, text, advice)


def size_text(count: int) -> str:
    """Write a number of bytes for people."""
    value, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if value < 1000:  # noqa: PLR2004 - the step between decimal units
            break
        value, unit = value / 1000, larger
    return f"{value:.0f} {unit}"
