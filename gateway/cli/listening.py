"""Whether a process could listen where it was told to, tried before anything is started."""

import socket

from gateway.cli.failures import CommandError


def require_address(host: str, port: int) -> None:
    """Fail with one line unless the address is ours and free; port 0 always is."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # ours may share a port
            probe.bind(address)
    except OSError as error:
        raise CommandError(
            f"cannot listen on {host}:{port}: {error.strerror}",
            hint="Another program may have the port, or the address is not of this machine.",
        ) from None
