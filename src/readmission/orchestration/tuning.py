"""Search the parameters of the challenger on the rows that are stored."""

from pathlib import Path

from readmission.context import Progress, Report
from readmission.errors import BadInputError
from readmission.services import Services
from readmission.settings import Settings
from readmission.training.preparation import digest, encode_set
from readmission.training.tuned_parameters import TunedParams, write_params
from readmission.warehouse.clean import cumulative_views, read_clean
from readmission.warehouse.connection import connect


def tune(settings: Settings, services: Services, minutes: float, output: Path, report: Report) -> TunedParams:
    """Search parameters on the largest cumulative set that is stored, and write them to a file.

    Args:
        settings: say how many cores to use.
        services: where the clean database is.
        minutes: that the search may take.
        output: the file.
        report: receives progress.

    Raises:
        BadInputError: no training rows are stored.
    """
    with connect(services.clean_url) as clean_database:
        views = cumulative_views(clean_database)
        if not views:
            raise BadInputError("No training rows are stored: run `readmission pipeline run` first")
        rows = read_clean(clean_database, views[-1])
    from readmission.training.tuning import search  # loads Optuna, which nothing else needs

    encoder, arrays = encode_set(rows)
    found = search(arrays, encoder, digest(arrays), minutes, settings.workers, lambda *step: report(Progress(*step)))
    write_params(found, output)
    return found
