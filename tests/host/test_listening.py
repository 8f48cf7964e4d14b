"""Where a process listens: claimed for one, or shared by all that say so."""

import socket

import pytest

from gateway.host.listening import CannotListenError, check, claimed


def server(port: int) -> socket.socket:
    """A server as ours binds: it would share its port with anybody."""
    made = socket.socket()
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    made.bind(("127.0.0.1", port))
    made.listen()
    return made


def test_a_port_is_for_one_process_unless_it_is_shared() -> None:
    with claimed("127.0.0.1", 0) as place, server(place.port):
        assert place.address == "127.0.0.1"
        assert place.port > 0
        socket.create_connection(place).close()
        with pytest.raises(CannotListenError, match="Address already in use") as caught:
            check("127.0.0.1", place.port)
        assert "GATEWAY_SHARE_PORT=true" in caught.value.hint
        with claimed("127.0.0.1", place.port, shared=True) as again:
            assert again == place
    check("127.0.0.1", place.port)


def test_a_name_becomes_an_address() -> None:
    with claimed("localhost", 0) as place:
        assert place.address == "127.0.0.1"


@pytest.mark.parametrize("host", ["host.invalid", "a" * 300, "192.0.2.1"])
def test_an_address_that_is_not_ours(host: str) -> None:
    with pytest.raises(CannotListenError, match="cannot listen on"):
        check(host, 0)
