"""Which execution the tables in use belong to."""

from readmission.context import Context
from readmission.errors import BadInputError
from readmission.warehouse.builds import build_schema, build_schemas, current_execution
from readmission.warehouse.connection import connect


def owns_tables(context: Context) -> bool:
    """Whether the tables in use are those of this execution, and it is building no others."""
    with connect(context.services.clean_url) as clean_database:
        building = build_schema(context.execution) in build_schemas(clean_database)
        return not building and current_execution(clean_database, "train_clean") == context.execution


def require_tables(context: Context) -> None:
    """Make sure that the tables in use are those of this execution: no model may carry the name of other data.

    Raises:
        BadInputError: they belong to another one, or there are none.
    """
    with connect(context.services.clean_url) as clean_database:
        owner = current_execution(clean_database, "train_clean")
    if owner != context.execution:
        held = f"hold execution {owner}" if owner else "do not exist"
        raise BadInputError(
            f"The current tables {held}, not execution {context.execution}: run its stages split, store and clean first"
        )
