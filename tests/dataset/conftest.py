"""Fixtures of the tests of obtaining data."""

import gc
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from obtaining import Site, sha256_of

from readmission.dataset import objects
from readmission.services import Services
from readmission.settings import Settings


@pytest.fixture
def site() -> Iterator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.answer(self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Site(f"http://127.0.0.1:{server.server_port}")
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()
    # A connection that was left open becomes a warning now, and so an error of this test and not of a later one.
    gc.collect()


@pytest.fixture(scope="session")
def one_client() -> Iterator[None]:
    """Each call makes a real client of its own, which takes longer than the rest of a test: make one per server."""
    made: dict[tuple[str, ...], object] = {}

    def make_once(services: Services) -> object:
        login = services.s3_access_key.get_secret_value(), services.s3_secret_key.get_secret_value()
        if (services.s3_url, *login) not in made:
            made[services.s3_url, *login] = make(services)
        return made[services.s3_url, *login]

    make = objects._make_client
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(objects, "_make_client", make_once)
        yield


@pytest.fixture
def home(tmp_path: Path) -> Settings:
    """A home of its own, with nothing in it."""
    return Settings(home=tmp_path / "home")


@pytest.fixture
def bucket(services: Services, request: pytest.FixtureRequest, one_client: None) -> Iterator[Services]:
    """A bucket of its own, not yet there; gone afterwards, for the server has room for one per GB of free disk."""
    name = f"data-{sha256_of(request.node.nodeid.encode())[:20]}"
    own = services.model_copy(update={"s3_bucket": name})
    yield own
    with suppress(ClientError):  # it was never made
        objects._make_client(own).delete_bucket(Bucket=name)


@pytest.fixture
def closed_url() -> str:
    """Where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"
