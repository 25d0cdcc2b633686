"""What holds for every test: no network, no cache of the user's, the same threads and the same examples each time."""

from __future__ import annotations

import gc
import ipaddress
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Runs and recipes that the tests of several layers start from.
pytest_plugins = ["tests.run_fixtures"]

# Set before any test imports torch or transformers, and inherited by the processes that tests start.
_HOME = Path(tempfile.mkdtemp(prefix="adjudge-tests-"))
os.environ.update(
    ADJUDGE_CACHE=str(_HOME / "adjudge"),
    HF_HOME=str(_HOME / "huggingface"),
    HF_HUB_OFFLINE="1",
    MPLBACKEND="Agg",
    TOKENIZERS_PARALLELISM="false",
)
for _threads in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(_threads, "1")


class NetworkBlockedError(RuntimeError):
    """A test reached for the network. No OSError, so that no code under test mistakes it for a host that is down."""


def _is_local(host: Any) -> bool:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _refuse_unless_local(sock: socket.socket, address: Any) -> None:
    if sock.family != getattr(socket, "AF_UNIX", None) and not _is_local(address[0]):
        raise NetworkBlockedError(f"tests have no network; refused a connection to {address!r}")


@pytest.fixture(autouse=True, scope="session")
def _auto_is_float32() -> Iterator[None]:
    """Tolerances are those of float32, so `precision: auto` means that, whatever units this machine has."""
    from adjudge.models.trunk import precision

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision, "cpu_has_bfloat16", lambda: False)
        yield


@pytest.fixture(autouse=True, scope="module")
def _what_is_loaded_is_no_garbage() -> None:
    """A collection after every run is right in use; here it would walk all libraries a hundred times, 0.2 s each."""
    gc.freeze()


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    connect, connect_ex, sendto = socket.socket.connect, socket.socket.connect_ex, socket.socket.sendto
    look_up = socket.getaddrinfo

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _refuse_unless_local(self, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _refuse_unless_local(self, address)
        return connect_ex(self, address)

    def guarded_sendto(self: socket.socket, data: Any, *rest: Any) -> int:
        _refuse_unless_local(self, rest[-1])
        return sendto(self, data, *rest)

    def guarded_look_up(host: Any, *rest: Any, **named: Any) -> Any:
        if not _is_local(host):
            raise NetworkBlockedError(f"tests have no network; refused to look up {host!r}")
        return look_up(host, *rest, **named)

    monkeypatch.setattr(socket.socket, "connect", guarded_connect)
    monkeypatch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    monkeypatch.setattr(socket.socket, "sendto", guarded_sendto)
    monkeypatch.setattr(socket, "getaddrinfo", guarded_look_up)


def pytest_configure(config: pytest.Config) -> None:
    """Make property-based tests try the same examples on every machine, and keep no record of them."""
    del config
    from hypothesis import settings

    settings.register_profile("adjudge", database=None, derandomize=True, deadline=None)
    settings.load_profile("adjudge")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove the caches of this run."""
    del config
    shutil.rmtree(_HOME, ignore_errors=True)
