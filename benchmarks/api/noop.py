"""A no-op that reads the body and sends a constant response, on uvicorn with the settings of the API."""

import argparse
import gc

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from readmission.local.ports import LOOPBACK
from readmission.serving.server import OPTIONS


def make_app(size: int) -> ASGIApp:
    """Make an application that answers every request with the same JSON text of ``size`` bytes."""
    body = b'"' + b"0" * (size - 2) + b'"'
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % size)]
    start = {"type": "http.response.start", "status": 200, "headers": headers}
    rest = {"type": "http.response.body", "body": body}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            while (await receive()).get("more_body"):
                pass
            await send(start)
            await send(rest)

    return app


def main() -> None:
    """Serve."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--bytes", type=int, required=True)
    options = parser.parse_args()
    app = make_app(options.bytes)
    gc.freeze()
    uvicorn.run(
        app,
        host=LOOPBACK,
        port=options.port,
        lifespan="off",
        **OPTIONS,
    )


if __name__ == "__main__":
    main()
