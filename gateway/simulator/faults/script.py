"""Scripted faults: which requests a fault hits, how often, and what happens instead."""

from random import Random
from typing import Annotated, Any, Literal

import msgspec

Route = Literal[
    "submit", "get", "status", "list", "delete", "workflows", "application", "upload", "files"
]


class _Model(msgspec.Struct, frozen=True, kw_only=True, rename="camel", forbid_unknown_fields=True):
    pass


class Respond(_Model, frozen=True, tag="respond"):
    """Answer this instead of doing the work."""

    status: int
    headers: dict[str, str] = {}
    retry_after: float | None = None
    retry_after_format: Literal["seconds", "date"] = "seconds"
    body: Literal["json", "html", "empty", "truncated", "huge"] = "json"
    text: str | None = None
    bytes: int = 200_000_000
    content_type: str | None = None
    code: str | None = None


class Delay(_Model, frozen=True, tag="delay"):
    """Do the work, and answer after `seconds`."""

    seconds: float


class Hang(_Model, frozen=True, tag="hang"):
    """Read the request and never answer; with `seconds` the connection drops after that time."""

    seconds: float | None = None


class Drip(_Model, frozen=True, tag="drip"):
    """Do the work, send the answer in small pieces."""

    bytes: int = 1
    seconds: float = 0.05
    part: Literal["headers", "body"] = "body"


class Reset(_Model, frozen=True, tag="reset"):
    """Read the request, drop the work, reset the connection."""


class Close(_Model, frozen=True, tag="close"):
    """Read the request, drop the work, close the connection in order, without an answer."""


class Cut(_Model, frozen=True, tag="cut"):
    """Do the work, send half of the answer, then reset."""


class AcceptClose(_Model, frozen=True, tag="acceptClose"):
    """Close a new connection before reading anything; `match` is ignored."""


class Ambiguous(_Model, frozen=True, tag="ambiguous"):
    """Do the work, then lose the answer."""

    then: Literal["reset", "close", "hang"] | Respond = "reset"
    hang_seconds: float | None = None


class Overlay(_Model, frozen=True, tag="settings"):
    """Do the work with other settings, for this request only."""

    settings: dict[str, Any]


Action = Respond | Delay | Hang | Drip | Reset | Close | Cut | AcceptClose | Ambiguous | Overlay


class Match(_Model, frozen=True):
    """Empty fields match everything."""

    method: str | None = None
    route: Route | None = None
    key: str | None = None
    workflow: str | None = None


class ScriptedFault(_Model, frozen=True):
    """One installed fault."""

    action: Action
    match: Match = Match()
    times: Annotated[int, msgspec.Meta(ge=1)] | None = None
    probability: float = 1.0


class Chaos(_Model, frozen=True):
    """A share `rate` of all API requests gets one of `kinds`, chosen by the seed."""

    seed: int = 0
    rate: float = 0.05
    kinds: tuple[str, ...] = ()


CHAOS: dict[str, Action] = {
    "500": Respond(status=500),
    "502": Respond(status=502, body="html"),
    "503": Respond(status=503, body="empty", retry_after=1),
    "504": Respond(status=504, body="html"),
    "429": Respond(status=429, retry_after=1),
    "429-date": Respond(status=429, retry_after=1, retry_after_format="date"),
    "429-bare": Respond(status=429),
    "html": Respond(status=200, body="html"),
    "truncated": Respond(status=200, body="truncated"),
    "delay": Delay(seconds=0.5),
    "drip": Drip(bytes=16, seconds=0.02),
    "hang": Hang(seconds=3),
    "reset": Reset(),
    "close": Close(),
    "cut": Cut(),
    "ambiguous-reset": Ambiguous(),
    "ambiguous-500": Ambiguous(then=Respond(status=500)),
    "unknown-status": Overlay(settings={"showStatus": "PENDING"}),
    "extra-fields": Overlay(settings={"extraFields": {"progress": 40}}),
}


class FaultedCall(msgspec.Struct):
    """The parts of a request that faults match; the workflow is empty if the request names none."""

    method: str
    route: str
    key: str
    workflow: str


class Installed(msgspec.Struct):
    """A fault with its id, its remaining uses (None: unlimited) and its number of hits."""

    id: int
    fault: ScriptedFault
    left: int | None
    hits: int = 0


class FaultBook:
    """The installed faults in the order of their addition, and the chaos profile."""

    def __init__(self, seed: int) -> None:
        self.installed: dict[int, Installed] = {}
        self._live: list[Installed] = []
        self.hits = 0
        self.chaos: Chaos | None = None
        self._next = 1
        self._rng = Random(f"faults:{seed}")
        self._chaos_rng = Random()

    @property
    def active(self) -> bool:
        return bool(self._live) or self.chaos is not None

    def add(self, fault: ScriptedFault) -> Installed:
        entry = Installed(id=self._next, fault=fault, left=fault.times)
        self.installed[entry.id] = entry
        self._live.append(entry)
        self._next += 1
        return entry

    def remove(self, fault_id: int) -> bool:
        self._live = [entry for entry in self._live if entry.id != fault_id]
        return self.installed.pop(fault_id, None) is not None

    def clear(self) -> None:
        self.installed.clear()
        self._live.clear()
        self.set_chaos(None)

    def set_chaos(self, chaos: Chaos | None) -> None:
        unknown = set(chaos.kinds if chaos else ()) - CHAOS.keys()
        if unknown:
            raise msgspec.ValidationError(
                f"Unknown kind {min(unknown)!r} - at `$.chaos.kinds`; known: {', '.join(CHAOS)}"
            )
        self.chaos = chaos
        self._chaos_rng = Random(f"chaos:{chaos.seed if chaos else 0}")

    def actions_for(self, call: FaultedCall) -> list[Action]:
        """Return the actions that hit this call; of those that end it, only the first is used up."""
        actions: list[Action] = []
        ended = False
        for entry in list(self._live):
            action = entry.fault.action
            ends = not isinstance(action, Delay | Overlay)
            if isinstance(action, AcceptClose) or (ends and ended):
                continue
            if _matches(entry.fault.match, call) and self._use_up(entry):
                actions.append(action)
                ended |= ends
        if self.chaos is not None and call.route != "files" and not ended:
            actions += self._draw(self.chaos)
        self.hits += bool(actions)
        return actions

    def closes_new_connection(self) -> bool:
        return any(
            isinstance(entry.fault.action, AcceptClose) and self._use_up(entry)
            for entry in list(self._live)
        )

    def _use_up(self, entry: Installed) -> bool:
        if self._rng.random() >= entry.fault.probability:
            return False
        entry.hits += 1
        if entry.left is not None:
            entry.left -= 1
            if entry.left == 0:
                self._live.remove(entry)
        return True

    def _draw(self, chaos: Chaos) -> list[Action]:
        if self._chaos_rng.random() >= chaos.rate:
            return []
        return [CHAOS[self._chaos_rng.choice(chaos.kinds or tuple(CHAOS))]]


def _matches(match: Match, call: FaultedCall) -> bool:
    pairs = (
        (match.method, call.method),
        (match.route, call.route),
        (match.key, call.key),
        (match.workflow, call.workflow),
    )
    return all(want is None or want == have for want, have in pairs)
