"""The floor that accepts are measured against: one bare INSERT for each request, nothing else.

Litestar, a pool of asyncpg, a key check by hash. No tenants, limits, wake-ups, logs or metrics.
"""

import hashlib
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from uuid import UUID

import asyncpg
import msgspec
from litestar import Litestar, Request, post
from litestar.connection import ASGIConnection
from litestar.exceptions import NotAuthorizedException
from litestar.handlers.base import BaseRouteHandler
from uuid_utils.compat import uuid7

DATABASE = "FLOOR_DATABASE_URL"
KEY = "floor-key"
_TENANT = UUID(int=1)
_POOL = 10
SCHEMA = """
CREATE TABLE job (
    id uuid PRIMARY KEY, tenant_id uuid NOT NULL, idem_key text, name text NOT NULL,
    params jsonb NOT NULL, metadata jsonb NOT NULL, created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (tenant_id, idem_key)
);
CREATE INDEX ON job (tenant_id, id);
"""
_INSERT = """
INSERT INTO job (id, tenant_id, idem_key, name, params, metadata, created_at)
VALUES ($1, $2, $3, $4, $5, $6, now())
ON CONFLICT (tenant_id, idem_key) DO NOTHING RETURNING id
"""
_TENANTS = {hashlib.sha256(KEY.encode()).digest(): _TENANT}


class JobIn(msgspec.Struct):
    """The body of the gateway's own accept."""

    name: str
    workflow: str
    params: msgspec.Raw
    metadata: msgspec.Raw


async def _guard(connection: ASGIConnection, _handler: BaseRouteHandler) -> None:
    key = connection.headers.get("authorization", "")
    if hashlib.sha256(key.encode()).digest() not in _TENANTS:
        raise NotAuthorizedException


@post("/v1/job", guards=[_guard], status_code=200)
async def accept(request: Request) -> dict[str, str]:
    """Commit one row, then answer its id."""
    given = msgspec.json.decode(await request.body(), type=JobIn)
    found = await request.app.state.pool.fetchval(
        _INSERT,
        uuid7(),
        _TENANT,
        request.headers.get("idempotency-key"),
        given.name,
        bytes(given.params).decode(),
        bytes(given.metadata).decode(),
    )
    return {"id": str(found)}


@asynccontextmanager
async def _pool(app: Litestar) -> AsyncGenerator[None]:
    url = os.environ[DATABASE].replace("+asyncpg", "")
    async with asyncpg.create_pool(url, min_size=_POOL, max_size=_POOL) as pool:
        await pool.execute(SCHEMA)
        app.state.pool = pool
        yield


app = Litestar([accept], lifespan=[_pool], openapi_config=None, logging_config=None)
