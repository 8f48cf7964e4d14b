"""Reads secrets from files, and finds misspelt settings in the environment."""

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

PREFIX = "GATEWAY_"
# Variables of API clients, shell completion, the container image and tests; they are no settings.
_NOT_SETTINGS = frozenset(
    {
        *("API", "ACCESS_KEY", "ACCESS_KEY_FILE", "OPERATOR_KEY", "OPERATOR_KEY_FILE", "TENANT"),
        *("KEYS", "FAULT", "COMPLETE", "VERSION"),
    }
)
# Kubernetes sets these in every pod if a service is named `gateway`.
_KUBERNETES = re.compile(r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP)(_.+)?)")
_PREFIXES = ("TEST_", "MODEL_")
_MOST_BYTES = 65_536


class InvalidSettingsError(Exception):
    """The settings are invalid; the message lists every fault."""


class UnknownVariable(NamedTuple):
    """A variable with our prefix that is not a setting, and the setting with the nearest name."""

    name: str
    nearest: str | None

    @property
    def text(self) -> str:
        """Describe it in one line."""
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{self.name} is not a setting{hint}"


def unknown_variables(
    settings: Collection[str], environment: Iterable[str]
) -> list[UnknownVariable]:
    """Return the variables with our prefix that are no settings; `settings` lack the prefix."""
    known = {*settings, *_NOT_SETTINGS}
    found = [
        name.upper().removeprefix(PREFIX) for name in environment if name.upper().startswith(PREFIX)
    ]
    return [
        UnknownVariable(PREFIX + name, _nearest(name, known))
        for name in sorted(set(found) - known)
        if not _KUBERNETES.fullmatch(name) and not name.startswith(_PREFIXES)
    ]


def _nearest(name: str, known: Collection[str]) -> str | None:
    near = get_close_matches(name, known, 1, 0.6)
    # A shortened name, such as MAXBODY, is not close to any whole name.
    bare = name.replace("_", "")
    begun = sorted(one for one in known if one.replace("_", "").startswith(bare))
    return PREFIX + (begun or near)[0] if begun or near else None


def read_files(
    secrets: Collection[str], environment: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """Read the files that NAME_FILE variables name; return their contents and the faults by NAME."""
    given = {name.upper(): value for name, value in environment.items()}
    values: dict[str, str] = {}
    faults: dict[str, str] = {}
    for name in secrets:
        variable = f"{PREFIX}{name}"
        file = given.get(f"{variable}_FILE")
        if not file:
            continue
        if given.get(variable):
            faults[name] = f"{variable}_FILE: {variable} is set as well; set one of them"
            continue
        try:
            values[name] = _read(Path(file))
        except (OSError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            faults[name] = f"{variable}_FILE: {file} cannot be read: {why}"
    return values, faults


def _read(file: Path) -> str:
    """Read a file without its last line break; raises OSError or ValueError."""
    with file.open("rb") as stream:
        raw = stream.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise ValueError("it is larger than a secret")
    try:
        text = raw.decode("utf-8-sig").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ValueError("it is not UTF-8 text") from None
    if not text:
        raise ValueError("it is empty")
    return text
