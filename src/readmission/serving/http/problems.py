"""Errors as answers: problem details of RFC 9457, one type that carries its status, one table for domain errors.

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

from readmission.serving.inference.errors import (
    FieldError,
    InvalidFieldsError,
    InvalidJsonError,
    LogOffError,
    NoExplanationError,
    NoModelError,
    PredictionError,
    UnscorableError,
)

MEDIA_TYPE = "application/problem+json"

_TYPE_PREFIX = "urn:problem-type:readmission:"
_MAX_NAME = 100

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ProblemType:
    """A type of problem: the last part of its URI (also the ``error_type`` of metrics), its title, its status."""

    name: str
    title: str
    status: HTTPStatus


INVALID_JSON = ProblemType("invalid_json", "The body is not JSON", HTTPStatus.BAD_REQUEST)
INVALID_REQUEST = ProblemType("invalid_request", "The request does not fit the schema", HTTPStatus.UNPROCESSABLE_ENTITY)
UNSCORABLE = ProblemType("unscorable", "The record cannot be scored", HTTPStatus.UNPROCESSABLE_ENTITY)
NO_MODEL = ProblemType("no_model", "No model is loaded", HTTPStatus.SERVICE_UNAVAILABLE)
NO_EXPLANATION = ProblemType("no_explanation", "The model cannot be explained", HTTPStatus.SERVICE_UNAVAILABLE)
NOT_KEPT = ProblemType("not_kept", "This server logs no predictions", HTTPStatus.SERVICE_UNAVAILABLE)
UNAUTHORIZED = ProblemType("unauthorized", "A key is needed", HTTPStatus.UNAUTHORIZED)
FORBIDDEN = ProblemType("forbidden", "This key does not open this", HTTPStatus.FORBIDDEN)
TOO_LARGE = ProblemType("too_large", "The body is too large", HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
UNSUPPORTED = ProblemType("unsupported", "The media type is not supported", HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
TOO_FAST = ProblemType("too_fast", "Too many requests", HTTPStatus.TOO_MANY_REQUESTS)
BUSY = ProblemType("busy", "Too many requests at once", HTTPStatus.SERVICE_UNAVAILABLE)
INTERNAL = ProblemType("internal", "The server failed", HTTPStatus.INTERNAL_SERVER_ERROR)
PROBLEM_TYPES = (
    INVALID_JSON, INVALID_REQUEST, UNSCORABLE, NO_MODEL, NO_EXPLANATION, NOT_KEPT, UNAUTHORIZED, FORBIDDEN, TOO_LARGE,
    UNSUPPORTED, TOO_FAST, BUSY, INTERNAL,
)  # fmt: skip


class ProblemError(Exception):
    """A request that is answered by a problem.

    Args:
        type: of problem.
        detail: one sentence for people: what is wrong and what to do.
        errors: the fields that are wrong.
        headers: to send with the answer.
    """

    def __init__(
        self,
        type: ProblemType,
        detail: str,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.type = type
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = headers


_OF_ERROR: Mapping[type[PredictionError], tuple[ProblemType, Mapping[str, str] | None]] = {
    InvalidJsonError: (INVALID_JSON, None),
    InvalidFieldsError: (INVALID_REQUEST, None),
    UnscorableError: (UNSCORABLE, None),
    NoModelError: (NO_MODEL, {"Retry-After": "5"}),
    NoExplanationError: (NO_EXPLANATION, None),
    LogOffError: (NOT_KEPT, None),
}
"""Every domain error, the problem that it is, and the headers that go with it."""


def problem_of(error: PredictionError) -> ProblemError:
    """The problem that a domain error is to a caller."""
    problem_type, headers = _OF_ERROR[type(error)]
    errors = error.errors if isinstance(error, InvalidFieldsError) else ()
    return ProblemError(problem_type, str(error), errors, headers)


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


def unsupported(media_types: Iterable[str]) -> ProblemError:
    """The answer to a body of a media type that is not read here."""
    return ProblemError(UNSUPPORTED, f"Send a body of the Content-Type {' or '.join(media_types)}.")


def too_fast(seconds: float) -> ProblemError:
    """The answer to a caller that asks more often than it may; after so many seconds it may again."""
    headers = {"Retry-After": str(max(1, math.ceil(seconds)))}
    detail = "This caller has sent too many requests: wait as long as Retry-After says."
    return ProblemError(TOO_FAST, detail, headers=headers)


def busy() -> ProblemError:
    """The answer while as many requests are under way as may be."""
    detail = "As many requests as this server takes at once are under way: try again in a second."
    return ProblemError(BUSY, detail, headers={"Retry-After": "1"})


def failed(request_id: str, error: Exception) -> ProblemError:
    """The answer where the server itself is at fault; logs the type of the error, for its message may quote a value."""
    _log.error("Request %s failed: %s", request_id, type(error).__name__)
    return ProblemError(INTERNAL, "The server failed on this request. Its log names the reason under the request id.")


def problem_answer(problem: ProblemError) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Write a problem as status, headers and body."""
    content: dict[str, Any] = {
        "type": _TYPE_PREFIX + problem.type.name,
        "title": problem.type.title,
        "status": problem.type.status.value,
        "detail": problem.detail,
    }
    if problem.errors:
        content["errors"] = [{"field": error.field, "detail": error.detail} for error in problem.errors]
    headers = {"content-type": MEDIA_TYPE, **(problem.headers or {})}
    # ASCII: a field name of the caller's may hold half a character, which UTF-8 cannot carry.
    body = json.dumps(content, ensure_ascii=True).encode()
    return problem.type.status.value, [(name.lower().encode(), value.encode()) for name, value in headers.items()], body


def add_error_handlers(app: FastAPI) -> None:
    """Make every error of an application a problem answer."""
    app.add_exception_handler(PredictionError, _on_prediction_error)
    app.add_exception_handler(ProblemError, _on_problem)
    app.add_exception_handler(RequestValidationError, _on_invalid_request)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_unexpected)


async def _on_problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)  # noqa: S101 - for the type checker
    return _answer(request, error)


async def _on_prediction_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, PredictionError)  # noqa: S101
    return _answer(request, problem_of(error))


async def _on_invalid_request(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)  # noqa: S101
    return _answer(request, _from_validation(error.errors()))


async def _on_http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)  # noqa: S101
    status = HTTPStatus(error.status_code)
    if status == HTTPStatus.BAD_REQUEST:  # the only one that FastAPI raises here: a body beyond its JSON parser
        return _answer(request, ProblemError(INVALID_JSON, "The body cannot be read as JSON in UTF-8."))
    problem_type = ProblemType(status.name.lower(), status.phrase, status)
    return _answer(request, ProblemError(problem_type, status.description, headers=error.headers))


async def _on_unexpected(request: Request, error: Exception) -> Response:
    return _answer(request, failed(str(getattr(request.state, "request_id", "")), error))


def _answer(request: Request, problem: ProblemError) -> Response:
    request.state.error_type = problem.type.name
    status, headers, body = problem_answer(problem)
    return Response(body, status, {name.decode(): value.decode() for name, value in headers})


def _from_validation(errors: Sequence[Mapping[str, Any]]) -> ProblemError:
    first = errors[0]
    if first["type"] == "json_invalid":
        return problem_of(InvalidJsonError(first["loc"][-1]))
    return problem_of(InvalidFieldsError([_field_error(error) for error in errors]))


def _field_error(error: Mapping[str, Any]) -> FieldError:
    names = [str(name) for name in error["loc"] if name != "body"]
    return FieldError(".".join(names)[:_MAX_NAME] or "body", _explain(error))


def _explain(error: Mapping[str, Any]) -> str:
    """Say what a field must be; messages of pydantic may quote the value, so none is passed on."""
    match error["type"]:
        case "literal_error":
            return f"must be {error['ctx']['expected']}"
        case "uuid_parsing" | "uuid_type":
            return "must be a UUID"
        case "extra_forbidden":
            return "is no field of this request"
        case "missing":
            return "is required"
        case "model_type" | "model_attributes_type" | "dict_type":
            return "must be a JSON object, in a request with Content-Type: application/json"
        case _:
            return "is not valid"
