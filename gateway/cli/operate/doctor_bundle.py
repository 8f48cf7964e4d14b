"""The bundle of `gateway doctor`: facts for a bug report, without secrets and without payloads."""

import asyncio
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, requires, version
from re import match
from typing import Any

from gateway import __version__
from gateway.cli.operate.config import setting_rows
from gateway.errors import Unavailable
from gateway.flows.deps import Deps
from gateway.flows.health.overview import overview
from gateway.store import diagnostics

_SECONDS = 30.0
_PACKAGE = "job-gateway"


async def bundle_of(deps: Deps, findings: Sequence[Mapping[str, object]]) -> dict[str, Any]:
    """The findings, versions, settings with secrets hidden, counts, and plans of the main statements."""
    bundle: dict[str, Any] = {
        "gateway": __version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "dependencies": _dependencies(),
        "settings": setting_rows(),
        "findings": findings,
    }
    try:
        async with asyncio.timeout(_SECONDS):
            return bundle | await _of_database(deps)
    except Unavailable as error:
        why = error.cause or error.detail
    except TimeoutError:
        why = f"no answer within {_SECONDS:g} s"
    except Exception as error:  # noqa: BLE001 - what was found so far must not get lost
        why = f"{type(error).__name__}: {error}"
    return bundle | {"database": f"could not be read: {why}"}


async def _of_database(deps: Deps) -> dict[str, Any]:
    found = await overview(deps)
    async with deps.db.single() as tx:
        server = await diagnostics.server(tx)
        tables = await diagnostics.tables(tx)
        disk, slots = await diagnostics.disk(tx), await diagnostics.slots(tx)
        ended = await diagnostics.ended_by_code(tx)
        plans = await diagnostics.plans(tx, server.version)
    return {
        "server": server._asdict(),
        "tables": [one._asdict() for one in tables],
        "disk": {**disk._asdict(), "slots": [one._asdict() for one in slots]},
        "jobsOpen": dict(found.states),
        "jobsEndedSinceYesterday": dict(ended),
        "queues": [line._asdict() for line in found.lines],
        "processes": [
            {"kind": one.kind, "state": one.state, "version": one.version, "did": one.did}
            for one in found.processes
        ],
        "plans": {name: list(lines) for name, lines in plans.items()},
    }


def _dependencies() -> dict[str, str]:
    try:
        wanted = requires(_PACKAGE) or []
    except PackageNotFoundError:
        return {}
    names = [found[0] for one in wanted if ";" not in one and (found := match(r"[\w.-]+", one))]
    return {name: version(name) for name in sorted(names)}
