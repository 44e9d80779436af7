"""Swap a finished build into both databases, one transaction each; an interrupted swap is finished later."""

from readmission.errors import BadInputError
from readmission.services import Services
from readmission.warehouse.builds import build_schema, build_schemas, swap_in
from readmission.warehouse.connection import connect
from readmission.warehouse.split_assignments import commit_assignments


def swap(services: Services, execution: str) -> None:
    """Make the build of an execution the current set of tables in both databases."""
    with connect(services.platform_url) as platform:
        platform.execute("INSERT INTO swaps (execution) VALUES (%s) ON CONFLICT DO NOTHING", [execution])
    try:
        _finish(services, execution)
    except BadInputError:  # nothing was replaced, so a later run must not try to finish this swap
        _forget(services, execution)
        raise


def finish_swaps(services: Services) -> None:
    """Finish swaps that an earlier run started and did not complete."""
    with connect(services.platform_url) as platform:
        started = [str(row[0]) for row in platform.execute("SELECT execution FROM swaps ORDER BY started_at")]
    for execution in started:
        _finish(services, execution)


def _finish(services: Services, execution: str) -> None:
    # Both transactions do all their work before the first one commits: an error in either leaves both unchanged.
    with connect(services.raw_url) as raw, connect(services.clean_url) as clean:
        if build_schema(execution) in build_schemas(raw):
            commit_assignments(raw, execution)
            swap_in(raw, execution)
        swap_in(clean, execution)
    _forget(services, execution)


def _forget(services: Services, execution: str) -> None:
    with connect(services.platform_url) as platform:
        platform.execute("DELETE FROM swaps WHERE execution = %s", [execution])
