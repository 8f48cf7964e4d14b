"""Styles, scripts and icons: built from frontend/, with a hash in each name, so that browsers keep them for good."""

import gzip
import json
import mimetypes
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "static"
_SCRIPT = "src/console.js"
_ICONS = "icons.svg"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file as it is sent."""

    media_type: str
    body: bytes = field(repr=False)
    gzipped: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Assets:
    """All files by name, and the names that pages refer to."""

    files: dict[str, Asset]
    script: str
    styles: tuple[str, ...]
    icons: str


@cache
def load(folder: Path = FOLDER) -> Assets | None:
    """The assets of this installation, read once; None in a checkout where they were not built."""
    manifest_file = folder / ".vite/manifest.json"
    if not manifest_file.exists():
        return None
    manifest: dict[str, dict[str, Any]] = json.loads(manifest_file.read_text())
    entry = manifest[_SCRIPT]
    files = {file.name: _asset(file) for file in folder.iterdir() if file.is_file()}
    return Assets(files, entry["file"], tuple(entry["css"]), manifest[_ICONS]["file"])


def _asset(file: Path) -> Asset:
    body = file.read_bytes()
    media_type = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    return Asset(media_type, body, gzip.compress(body, mtime=0))
