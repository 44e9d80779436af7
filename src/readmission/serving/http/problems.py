"""What a caller sees when there is no answer: one error type that carries its status, as RFC 9457 problem details.

No text here ever holds a value of a record: field names, ranges and positions only.
"""

import json
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

MEDIA_TYPE = "application/problem+json"

_TYPE_PREFIX = "urn:problem-type:readmission:"
_NAME_LIMIT = 100
MOST_ERRORS = 100
"""Wrong fields that an answer names."""


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of problem: the last part of its type URI (also the ``error_type`` of metrics), its title, its status."""

    name: str
    title: str
    status: HTTPStatus


INVALID_JSON = Kind("invalid_json", "The body is not JSON", HTTPStatus.BAD_REQUEST)
INVALID_REQUEST = Kind("invalid_request", "The request does not fit the schema", HTTPStatus.UNPROCESSABLE_ENTITY)
UNSCORABLE = Kind("unscorable", "The record cannot be scored", HTTPStatus.UNPROCESSABLE_ENTITY)
NO_MODEL = Kind("no_model", "No model is loaded", HTTPStatus.SERVICE_UNAVAILABLE)
NO_EXPLANATION = Kind("no_explanation", "The model cannot be explained", HTTPStatus.SERVICE_UNAVAILABLE)
NOT_KEPT = Kind("not_kept", "This server keeps no predictions", HTTPStatus.SERVICE_UNAVAILABLE)
UNAUTHORIZED = Kind("unauthorized", "A key is needed", HTTPStatus.UNAUTHORIZED)
FORBIDDEN = Kind("forbidden", "This key does not open this", HTTPStatus.FORBIDDEN)
TOO_LARGE = Kind("too_large", "The body is too large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
UNSUPPORTED = Kind("unsupported", "The body has another form", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
TOO_FAST = Kind("too_fast", "Too many requests", HTTPStatus.TOO_MANY_REQUESTS)
BUSY = Kind("busy", "Too many requests at once", HTTPStatus.SERVICE_UNAVAILABLE)
INTERNAL = Kind("internal", "The server failed", HTTPStatus.INTERNAL_SERVER_ERROR)
KINDS = (
    INVALID_JSON, INVALID_REQUEST, UNSCORABLE, NO_MODEL, NO_EXPLANATION, NOT_KEPT, UNAUTHORIZED, FORBIDDEN, TOO_LARGE,
    UNSUPPORTED, TOO_FAST, BUSY, INTERNAL,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class FieldError:
    """One wrong field: its place in the body (``features.age``) and what it must be."""

    field: str
    detail: str


class ProblemError(Exception):
    """A request that gets no answer.

    Args:
        kind: what sort of problem.
        detail: one sentence for people: what is wrong and what to do.
        errors: the fields that are wrong.
        headers: to send with the answer.
    """

    def __init__(
        self, kind: Kind, detail: str, errors: Sequence[FieldError] = (), headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(detail)
        self.kind = kind
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = headers


PROBLEM_SCHEMA: dict[str, Any] = {
    "title": "Problem",
    "description": "Problem details of RFC 9457.",
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["field", "detail"],
                "properties": {"field": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}


def describe(*statuses: HTTPStatus) -> dict[int | str, dict[str, Any]]:
    """Describe problem answers for OpenAPI."""
    content = {MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}}
    return {status.value: {"description": status.phrase, "content": content} for status in statuses}


def invalid_fields(errors: Sequence[FieldError]) -> ProblemError:
    """The answer to a request of which these fields are wrong; the first hundred are named."""
    names = ", ".join(error.field for error in errors[:5]) + (", ..." if len(errors) > 5 else "")
    return ProblemError(INVALID_REQUEST, f"Wrong in this request: {names}.", errors[:MOST_ERRORS])


def no_model() -> ProblemError:
    """The answer while no model is loaded."""
    detail = "No production model is loaded yet. Publish one to the model registry; it is picked up within seconds."
    return ProblemError(NO_MODEL, detail, headers={"Retry-After": "5"})


def unscorable() -> ProblemError:
    """The answer to a record whose numbers the model cannot compute with."""
    return ProblemError(UNSCORABLE, "A number in this record is beyond what the model can compute with.")


def no_explanation() -> ProblemError:
    """The answer where a model came without explanation, or with one that this release cannot read."""
    return ProblemError(NO_EXPLANATION, "This model version came with no explanation that can be read.")


def not_kept() -> ProblemError:
    """The answer to feedback where the log of predictions is off."""
    return ProblemError(NOT_KEPT, "The log of predictions is off here, so there is nothing to give feedback on.")


def unauthorized() -> ProblemError:
    """The answer to a request without a key that is accepted."""
    detail = "Send a key that this server accepts in the header X-API-Key or as Authorization: Bearer."
    return ProblemError(UNAUTHORIZED, detail, headers={"WWW-Authenticate": "Bearer"})


def forbidden(scope: str) -> ProblemError:
    """The answer to a key of too narrow a scope."""
    return ProblemError(FORBIDDEN, f"This needs a key of the scope {scope}.")


def too_large(limit: int) -> ProblemError:
    """The answer to a body of more bytes than are read."""
    return ProblemError(TOO_LARGE, f"A body may have up to {limit:,} bytes here.")


def too_many_rows(limit: int) -> ProblemError:
    """The answer to a batch of more records than are answered at once."""
    return ProblemError(
        TOO_LARGE, f"A batch may have up to {limit:,} records; `readmission score` takes files of any size."
    )


def unsupported(forms: Iterable[str]) -> ProblemError:
    """The answer to a body of a form that is not read here."""
    return ProblemError(UNSUPPORTED, f"Send a body of the Content-Type {' or '.join(forms)}.")


def too_fast(seconds: float) -> ProblemError:
    """The answer to a caller that asks more often than it may; after so many seconds it may again."""
    headers = {"Retry-After": str(max(1, math.ceil(seconds)))}
    detail = "This caller has sent too many requests: wait as long as Retry-After says."
    return ProblemError(TOO_FAST, detail, headers=headers)


def busy() -> ProblemError:
    """The answer while as many requests are under way as may be."""
    detail = "As many requests as this server takes at once are under way: try again in a second."
    return ProblemError(BUSY, detail, headers={"Retry-After": "1"})


def internal() -> ProblemError:
    """The answer where the server itself is at fault."""
    return ProblemError(INTERNAL, "The server failed on this request. Its log names the reason under the request id.")


def problem_answer(problem: ProblemError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Write a problem as status, headers and body."""
    content: dict[str, Any] = {
        "type": _TYPE_PREFIX + problem.kind.name,
        "title": problem.kind.title,
        "status": problem.kind.status.value,
        "detail": problem.detail,
    }
    if problem.errors:
        content["errors"] = [{"field": error.field, "detail": error.detail} for error in problem.errors]
    headers = {"content-type": MEDIA_TYPE, **(problem.headers or {})}
    # ASCII: a field name of the caller's may hold half a character, which UTF-8 cannot carry.
    body = json.dumps(content, ensure_ascii=True).encode()
    return problem.kind.status.value, [(name.lower().encode(), value.encode()) for name, value in headers.items()], body


def add_error_handlers(app: FastAPI) -> None:
    """Make every error of an application a problem answer."""
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_unexpected)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 - for the type checker
    return _answer(request, error)


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return _answer(request, _from_validation(error.errors()))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    status = HTTPStatus(error.status_code)
    if status == HTTPStatus.BAD_REQUEST:  # the only one that FastAPI raises here: a body beyond its JSON parser
        return _answer(request, ProblemError(INVALID_JSON, "The body cannot be read as JSON in UTF-8."))
    kind = Kind(status.name.lower(), status.phrase, status)
    return _answer(request, ProblemError(kind, status.description, headers=error.headers))


async def _on_unexpected(request: Request, error: Exception) -> Response:
    # The traceback is logged by the server; the message may quote a value, so only its type is repeated here.
    _log.error("Request %s failed: %s", _request_id(request), type(error).__name__)
    return _answer(request, internal())


def _request_id(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))


def _answer(request: Request, problem: ProblemError) -> Response:
    request.state.error_type = problem.kind.name
    status, headers, body = problem_answer(problem)
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})


def _from_validation(errors: Sequence[Mapping[str, Any]]) -> ProblemError:
    first = errors[0]
    if first["type"] == "json_invalid":
        return ProblemError(INVALID_JSON, f"The body is not JSON from character {first['loc'][-1]} on.")
    return invalid_fields([_field_error(error) for error in errors])


def _field_error(error: Mapping[str, Any]) -> FieldError:
    place = [str(part) for part in error["loc"] if part != "body"]
    return FieldError(".".join(place)[:_NAME_LIMIT] or "body", _explain(error))


def _explain(error: Mapping[str, Any]) -> str:
    """Say what a field must be. Messages of pydantic may quote the value, so only our own are passed on."""
    match error["type"]:
        case "wrong_value":
            return str(error["msg"])
        case "literal_error":
            return f"must be {error['ctx']['expected']}"
        case "uuid_parsing" | "uuid_type":
            return "must be a UUID"
        case "extra_forbidden":
            return "is no field of a record"
        case "missing":
            return "is required"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "must be a JSON object, in a request with Content-Type: application/json"
        case _:
            return "is not valid"
