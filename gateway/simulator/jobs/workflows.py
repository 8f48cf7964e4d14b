"""The built-in workflows, and the form of a workflow."""

import uuid

import msgspec

NAMESPACE = uuid.UUID("6f1f5a52-6f53-4b0e-9c0b-53494d000001")
BORN = "2024-03-01T09:00:00.000Z"


ONE_FILE = {"Output 1": ".wav"}


class SimulatedWorkflow(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow; `outputs` maps a name to `.ext` (a signed file URL) or to a plain value."""

    id: str
    name: str
    slug: str
    description: str
    outputs: dict[str, str]


BUILT_IN: tuple[tuple[str, str, str, dict[str, str]], ...] = (
    (
        "music-ai/stems-vocals-accompaniment",
        "Stems Isolations - Vocals & accompaniments",
        "Splits a track into vocals and accompaniments.",
        {"vocals": ".wav", "accompaniments": ".wav"},
    ),
    (
        "music-ai/generate-chords",
        "Chords",
        "Transcribes chords, key and tempo.",
        {"chords": ".json", "bpm": "120", "key": "C major"},
    ),
    (
        "music-ai/isolate-drums",
        "Isolate drums",
        "Splits a drum track into its parts.",
        {"Kick drum": ".wav", "Snare drum": ".wav", "Hi-hat": ".wav"},
    ),
    (
        "untitled-workflow-e78c2e",
        "Untitled workflow",
        "",
        {"Output 1": ".wav", "Output 2": ".wav"},
    ),
    ("audio-encoder", "Audio encoder", "Encodes audio as m4a.", {"output": ".m4a"}),
)


def make_workflow(
    slug: str, name: str, description: str, outputs: dict[str, str]
) -> SimulatedWorkflow:
    identity = str(uuid.uuid5(NAMESPACE, f"workflow:{slug}"))
    return SimulatedWorkflow(
        id=identity, name=name, slug=slug, description=description, outputs=outputs
    )
