"""The console in this process, on the application that the tests of the API use."""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest_asyncio

from gateway.console.cookies import SESSION
from gateway.console.router import console_face, portal_face
from gateway.core.model import KeyKind
from gateway.core.roles import Role
from gateway.flows.admin import sessions
from gateway.web.app import create_app
from tests.web.conftest import World, acme, module_world, world

__all__ = ["acme", "module_world", "world"]


class Console:
    """Somebody who is signed in, with the CSRF token of the session."""

    def __init__(self, client: httpx.AsyncClient, csrf: str) -> None:
        self.client = client
        self.csrf = csrf

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=headers)

    async def post(self, path: str, form: dict[str, str] | None = None, **headers: str) -> Any:
        """Send a form with the token."""
        fields = {"csrf": self.csrf, **(form or {})}
        return await self.client.post(path, data=fields, headers=headers)


@pytest_asyncio.fixture(loop_scope="module")
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    """Somebody who is not signed in; the address is HTTPS, as the cookies need."""
    app = create_app(world.deps, faces=[console_face(), portal_face()])
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://gateway") as made:
        yield made


async def signed_in(world: World, client: httpx.AsyncClient, role: str = "operator") -> Console:
    """Somebody with a role, signed in with a key."""
    key = await world.key(KeyKind.OPERATOR, role=Role(role))
    answer = await client.post("/console/sign-in", data={"key": key})
    assert answer.status_code == 303, answer.text
    session = await sessions.find(world.deps, client.cookies[SESSION])
    assert session is not None
    return Console(client, session.csrf_token)
