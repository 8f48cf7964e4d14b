"""The content of result files: short tones, or JSON for names that end so."""

import math
import struct
from functools import lru_cache
from zlib import crc32

from gateway.simulator.http.messages import encode_json

RATE = 8000
FRAMES = 400
TYPES = {"wav": "audio/wav", "m4a": "audio/mp4", "mp3": "audio/mpeg", "json": "application/json"}


@lru_cache(maxsize=256)
def content(name: str) -> tuple[bytes, str]:
    """Return the content and its type; the same name always gives the same bytes."""
    extension = name.rpartition(".")[2].lower()
    content_type = TYPES.get(extension, "application/octet-stream")
    if extension == "json":
        chords = [{"start": 0.0, "end": 1.5, "chord": "C:maj"}]
        return encode_json(chords), content_type
    return _tone(220 + crc32(name.encode()) % 440), content_type


def _tone(hertz: int) -> bytes:
    samples = (int(8000 * math.sin(2 * math.pi * hertz * n / RATE)) for n in range(FRAMES))
    data = struct.pack(f"<{FRAMES}h", *samples)
    head = struct.pack(
        "<4sI4s4sIHHIIHH4sI",
        b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, RATE, RATE * 2, 2, 16, b"data", len(data),
    )  # fmt: skip
    return head + data
