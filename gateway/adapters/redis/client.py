"""Connects to Redis: by TCP, by a Unix socket, or to the master that the Sentinels name."""

from collections.abc import Mapping
from typing import Any, TypeVar

from redis.asyncio import (
    Connection,
    ConnectionPool,
    Redis,
    SSLConnection,
    UnixDomainSocketConnection,
)
from redis.asyncio.sentinel import (
    Sentinel,
    SentinelConnectionPool,
    SentinelManagedConnection,
    SentinelManagedSSLConnection,
)
from redis.exceptions import ConnectionError as LostConnectionError
from redis.exceptions import RedisError
from typing_extensions import override

from gateway.config.redis_url import RedisAddress, Server, Tls, parse_redis_url

Client = TypeVar("Client", bound=Redis)

LOST = (RedisError, OSError)  # OSError includes TimeoutError

SILENCE_SECONDS = 2.0
# A Sentinel that does not answer must not delay the question to the next one for long.
_SENTINEL_SECONDS = 0.5

# redis-py has hardly any types: its classes are Any where they are used.
_Arguments = dict[str, Any]


def connect(redis_url: str, kind: type[Client], seconds: float = SILENCE_SECONDS) -> Client:
    """Make a client that connects on first use, and gives up on a silent server after `seconds`."""
    made: Any = kind
    return made.from_pool(pool_of(redis_url, seconds))


def pool_of(redis_url: str, seconds: float) -> ConnectionPool:
    """Make the connection pool of one client."""
    address = parse_redis_url(redis_url)
    login = _arguments(address.username, address.password, seconds)
    login["db"] = address.database
    if address.master:
        return _master_pool(address, login)
    if address.socket:
        socket = _noticing_resets(UnixDomainSocketConnection)
        return ConnectionPool(connection_class=socket, path=address.socket, **login)
    return _pool(address.servers[0], address.tls, login)


def _arguments(username: str | None, password: str | None, seconds: float) -> _Arguments:
    return {
        "username": username,
        "password": password,
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        # redis-py would send CLIENT SETINFO, which the ACL of the server may not allow.
        "lib_name": None,
        "lib_version": None,
    }


def _pool(server: Server, tls: Tls | None, login: Mapping[str, Any]) -> ConnectionPool:
    place: _Arguments = {"host": server.host, "port": server.port, **login}
    kind = Connection if tls is None else _with_current_certificates(SSLConnection, tls)
    return ConnectionPool(connection_class=_noticing_resets(kind), **place)


def _master_pool(address: RedisAddress, login: Mapping[str, Any]) -> ConnectionPool:
    sentinel_login = _arguments(
        address.sentinel_username, address.sentinel_password, _SENTINEL_SECONDS
    )
    sentinels: Any = Sentinel([])
    sentinels.sentinels = [
        Redis.from_pool(_pool(server, address.sentinel_tls, sentinel_login))
        for server in address.servers
    ]
    kind: Any = SentinelManagedConnection
    if address.tls is not None:
        kind = _with_current_certificates(SentinelManagedSSLConnection, address.tls)
    connection_class = _noticing_resets(kind)
    return _MasterPool(address.master, sentinels, connection_class=connection_class, **login)


class _MasterPool(SentinelConnectionPool):
    """A pool that also closes the connections to the Sentinels."""

    @override
    async def disconnect(self, inuse_connections: bool = True) -> None:
        await super().disconnect(inuse_connections)
        if inuse_connections:  # it is closing, and has not only lost its master
            sentinels: Any = self.sentinel_manager
            for sentinel in sentinels.sentinels:
                await sentinel.aclose()


def _noticing_resets(kind: Any) -> Any:  # noqa: ANN401 - redis-py's classes
    """Make a connection class that reports a reset as a lost connection on every event loop.

    uvloop raises RuntimeError where a write meets a connection that the server has reset meanwhile.
    redis-py passes that on, and a worker would end by it.
    """

    class NoticingResets(kind):
        async def send_packed_command(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
            try:
                await kind.send_packed_command(self, *arguments, **options)
            except RuntimeError as error:
                raise LostConnectionError("Connection closed by server.") from error

    return NoticingResets


def _with_current_certificates(kind: Any, tls: Tls) -> Any:  # noqa: ANN401 - redis-py's classes
    """Make a connection class that reads the certificates each time it connects.

    Operators replace them while the process runs. And redis-py would trust a private CA only in
    addition to the authorities of the system, not instead of them.
    """

    class WithCurrentCertificates(kind):
        async def connect(self) -> None:
            me: Any = self
            if not me.is_connected:
                me.ssl_context.context = tls.context()
            await kind.connect(self)

    return WithCurrentCertificates
