"""Open HTTP clients: direct for this machine, else with the proxies and certificates of the environment."""

import ssl
from collections.abc import Mapping
from ipaddress import ip_address
from typing import Any

import httpx

from gateway.cli.terminal.failures import CommandError, ExitCode

_HINT = "Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY, NO_PROXY and SSL_CERT_FILE."


def open_client(root: str, headers: Mapping[str, str], seconds: float) -> httpx.Client:
    """Open a client of an API; raises CommandError."""
    url = _parsed(root)
    try:
        own: dict[str, Any] = (
            {"transport": httpx.HTTPTransport(verify=_context(url))} if is_here(url.host) else {}
        )
        return httpx.Client(base_url=root, headers=headers, timeout=seconds, **own)
    except (OSError, ImportError, ValueError) as error:
        raise _unusable(error) from None


def open_async_client(
    root: str, headers: Mapping[str, str] | None = None, seconds: float = 5.0
) -> httpx.AsyncClient:
    """Open the same for asyncio."""
    url = _parsed(root)
    try:
        own: dict[str, Any] = (
            {"transport": httpx.AsyncHTTPTransport(verify=_context(url))}
            if is_here(url.host)
            else {}
        )
        return httpx.AsyncClient(base_url=root, headers=headers, timeout=seconds, **own)
    except (OSError, ImportError, ValueError) as error:
        raise _unusable(error) from None


def is_here(host: str) -> bool:
    """Whether a host is this machine, which a proxy cannot reach."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


def _parsed(root: str) -> httpx.URL:
    try:
        url = httpx.URL(root)
    except httpx.InvalidURL as error:
        raise CommandError(f"the API's URL is malformed: {error}", ExitCode.USAGE) from None
    if url.scheme not in ("http", "https") or not url.host:
        raise CommandError("the API's URL is malformed: it must be http://host", ExitCode.USAGE)
    return url


def _context(url: httpx.URL) -> ssl.SSLContext:
    # Without TLS do not load the certificates of the environment, which may be missing.
    return httpx.create_ssl_context(trust_env=url.scheme == "https")


def _unusable(error: Exception) -> CommandError:
    why = getattr(error, "strerror", None) or str(error).partition("\n")[0]
    return CommandError(
        f"the proxy or certificate settings in the environment cannot be used: {why}",
        ExitCode.USAGE,
        _HINT,
    )
