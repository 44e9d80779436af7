import errno
import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readmission.errors import BadInputError, ServiceDownError
from readmission.local.ports import bind_error, check_ports, settings_by_port


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.fixture
def free(taken: int) -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def test_a_free_port_can_be_bound(free: int) -> None:
    assert bind_error(free) == 0
    check_ports({free: "READMISSION_MLFLOW_PORT"})


def test_a_taken_port_is_one_line_with_port_and_setting(taken: int) -> None:
    with pytest.raises(ServiceDownError) as error:
        check_ports({taken: "READMISSION_MLFLOW_PORT"})
    assert str(error.value) == (
        f"Port {taken} is taken by another program: stop it or set READMISSION_MLFLOW_PORT to a free one"
    )


def test_a_server_on_every_address_holds_the_loopback_port_too() -> None:
    with socket.create_server(("0.0.0.0", 0)) as server:
        assert bind_error(server.getsockname()[1]) == errno.EADDRINUSE


def test_the_first_taken_port_is_reported(free: int, taken: int) -> None:
    with pytest.raises(ServiceDownError, match="SECOND"):
        check_ports({free: "FIRST", taken: "SECOND"})


def test_lingering_connections_of_an_earlier_server_are_no_obstacle() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    port = server.getsockname()[1]
    client = socket.create_connection(("127.0.0.1", port))
    connection, _ = server.accept()
    connection.close()
    client.close()
    server.close()
    assert bind_error(port) == 0


def test_settings_are_found_by_their_port() -> None:
    assert settings_by_port([(1, "A"), (2, "B"), (10_001, "A")]) == {1: "A", 2: "B", 10_001: "A"}


def test_two_settings_with_one_port_are_both_named() -> None:
    with pytest.raises(BadInputError) as error:
        settings_by_port([(1, "A"), (2, "B"), (1, "C")])
    assert str(error.value) == "A and C both take port 1: set one of them to another port"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may bind every port")
def test_a_forbidden_port_says_so() -> None:
    with pytest.raises(ServiceDownError, match="is barred"):
        check_ports({1: "READMISSION_API_PORT"})


@given(st.integers(65_536, 75_535))
def test_ports_beyond_the_highest_are_refused(port: int) -> None:
    with pytest.raises(BadInputError, match="READMISSION_S3_PORT"):
        check_ports({port: "READMISSION_S3_PORT"})
