"""What of the environment is no plain setting: secrets in files, and names that nothing reads."""

import re
from collections.abc import Collection, Iterable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

PREFIX = "GATEWAY_"
# Of clients of the API, of shell completion, of the image and of tests; none of them is a setting.
_OTHERS = frozenset(
    {
        *("API", "ACCESS_KEY", "ACCESS_KEY_FILE", "OPERATOR_KEY", "OPERATOR_KEY_FILE", "TENANT"),
        *("KEYS", "FAULT", "COMPLETE", "VERSION"),
    }
)
# Kubernetes tells every pod of a service named `gateway` in its own way.
_KUBERNETES = re.compile(r"(.+_)?(SERVICE_HOST|SERVICE_PORT(_.+)?|PORT_[0-9]+_(TCP|UDP)(_.+)?)")
_PREFIXES = ("TEST_", "MODEL_")
_MOST_BYTES = 65_536


class InvalidSettingsError(Exception):
    """The environment does not make valid settings; the message lists every fault."""


class Stranger(NamedTuple):
    """A variable with our prefix that nothing reads, and the setting that may be meant."""

    name: str
    nearest: str | None

    @property
    def text(self) -> str:
        """One line about it."""
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        return f"{self.name} is not a setting{hint}"


def strangers(settings: Collection[str], environment: Iterable[str]) -> list[Stranger]:
    """The variables that look like settings and are none; `settings` are names without the prefix."""
    known = {*settings, *_OTHERS}
    found = [
        name.upper().removeprefix(PREFIX) for name in environment if name.upper().startswith(PREFIX)
    ]
    return [
        Stranger(PREFIX + name, _nearest(name, known))
        for name in sorted(set(found) - known)
        if not _KUBERNETES.fullmatch(name) and not name.startswith(_PREFIXES)
    ]


def _nearest(name: str, known: Collection[str]) -> str | None:
    near = get_close_matches(name, known, 1, 0.6)
    # A shortened name, such as MAXBODY, is like none of them as a whole.
    bare = name.replace("_", "")
    begun = sorted(one for one in known if one.replace("_", "").startswith(bare))
    return PREFIX + (begun or near)[0] if begun or near else None


def read_files(
    secrets: Collection[str], environment: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    """What the files hold that NAME_FILE variables name, and what is wrong with them, both by NAME."""
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
    """The text of a file without the newline at its end; raises OSError or ValueError."""
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
