"""The options of a pipeline run on the command line, made from their model ``results.Options``: one for each field."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from readmission.errors import BadInputError
from readmission.results import Aim, Options

ChosenOptions = Callable[[], Options]
"""Checks what the user chose.

Raises:
    BadInputError: an option is wrong, or two exclude each other.
"""

_FIELDS: Mapping[str, FieldInfo] = {
    **{name: field for name, field in Options.model_fields.items() if name != "aim"},
    **Aim.model_fields,
}


def takes_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command an option for each field of ``Options``, in place of its first parameter."""

    @wraps(command)
    def with_options(**given: Any) -> None:
        chosen = {name: given.pop(name) for name in _FIELDS}
        command(lambda: _check(chosen), **given)

    own = list(inspect.signature(command).parameters.values())[1:]
    parameters = [*(_parameter(name, field) for name, field in _FIELDS.items()), *own]
    keyword_only = [parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY) for parameter in parameters]
    with_options.__signature__ = inspect.Signature(keyword_only)  # type: ignore[attr-defined]
    with_options.__annotations__ = {parameter.name: parameter.annotation for parameter in keyword_only}
    return with_options


def _parameter(name: str, field: FieldInfo) -> inspect.Parameter:
    """An option; what is not given is None, and a flag is False."""
    if field.annotation is bool:
        flag: Any = Annotated[bool, typer.Option(f"--{name.replace('_', '-')}", help=field.description)]
        return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=False, annotation=flag)
    kind: Any = _type(field.annotation)
    option = Annotated[kind | None, typer.Option(help=field.description)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=option)


def _type(annotation: Any) -> Any:
    """What Typer reads: a choice, a number, or text; several values are text with commas."""
    if get_origin(annotation) is Literal:
        return annotation
    return next((kind for kind in (int, float) if kind in _parts(annotation)), str)


def _parts(annotation: Any) -> list[Any]:
    return [annotation, *(part for argument in get_args(annotation) for part in _parts(argument))]


def _check(given: Mapping[str, Any]) -> Options:
    if given["batch_size"] is not None and given["batches"] is not None:
        raise BadInputError("Give --batch-size or --batches, not both")
    if given["alert_rate"] is not None and given["objective"] != "lt30_recall":
        raise BadInputError("--alert-rate belongs to --objective lt30_recall")
    chosen = {name: value for name, value in given.items() if value is not None}
    aim = {name: chosen.pop(name) for name in Aim.model_fields if name in chosen}
    for name in ("models", "challengers"):
        if name in chosen:
            chosen[name] = [word.strip() for word in chosen[name].split(",")]
    try:
        return Options.model_validate({**chosen, "aim": aim})
    except ValidationError as error:
        first = error.errors()[0]
        place = first["loc"][1] if first["loc"][0] == "aim" else first["loc"][0]
        raise BadInputError(f"Option --{str(place).replace('_', '-')}: {first['msg']}") from None
