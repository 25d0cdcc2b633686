"""The block that keeps every test off the network is itself tested."""

import socket
import threading

import pytest

from tests.conftest import NetworkBlockedError


def test_a_connection_outside_this_machine_is_refused() -> None:
    with socket.socket() as sock, pytest.raises(NetworkBlockedError):
        sock.connect(("192.0.2.1", 80))
    with pytest.raises(NetworkBlockedError):
        socket.create_connection(("example.invalid", 80))
    with socket.socket(type=socket.SOCK_DGRAM) as sock, pytest.raises(NetworkBlockedError):
        sock.sendto(b"x", ("192.0.2.1", 53))


def test_a_connection_to_this_machine_is_allowed() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        accepted = threading.Thread(target=server.accept)
        accepted.start()
        socket.create_connection(server.getsockname()).close()
        accepted.join(timeout=5)
        assert not accepted.is_alive()
