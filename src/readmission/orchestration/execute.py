"""Run the whole pipeline, or one stage of it: lock, processes, stages, charts.

The heavy modules are imported inside the functions: meanwhile the training processes, started before, load theirs.
"""

from pydantic import BaseModel

from readmission.context import Context, Report, new_execution
from readmission.orchestration.process_pool import worker_pool
from readmission.registry.probe import require_mlflow
from readmission.results import Options, Summary
from readmission.services import Services
from readmission.settings import Settings
from readmission.warehouse.connection import connect
from readmission.warehouse.metadata import store as platform


def execute(context: Context, options: Options, fallback: bool = False) -> Summary:
    """Run every stage and draw the charts.

    Args:
        context: of the execution.
        options: the user's.
        fallback: whether synthetic records may take the place of the default source.

    Raises:
        ReadmissionError: with one line for people; the previous tables and model stay as they were.
    """
    platform.create_tables(context.services.platform_url)  # says at once when the database is down
    # At once: its turn comes after the new tables have replaced the old.
    require_mlflow(context.services)
    with worker_pool(context.settings.workers) as pool:
        from readmission.orchestration.runner import Run, pipeline_lock, run_pipeline

        with pipeline_lock(context):
            return run_pipeline(Run(context, options, pool, fallback))


def begin_execution(settings: Settings, services: Services, options: Options, report: Report) -> BaseModel:
    """Begin an execution and run its first stage alone."""
    platform.create_tables(services.platform_url)
    from readmission.orchestration.runner import Run, begin, pipeline_lock, run_stage

    context = Context(settings, services, new_execution(), report)
    with pipeline_lock(context), worker_pool(settings.workers, warm=False) as pool:
        run = Run(context, options, pool)
        begin(context, options)
        return run_stage(run, "download")


def continue_execution(
    settings: Settings, services: Services, execution: str | None, stage: str, report: Report
) -> BaseModel:
    """Run one later stage of an execution; None is the latest."""
    platform.create_tables(services.platform_url)
    with connect(services.platform_url) as connection:
        name = execution or platform.latest_execution(connection)
        options = Options.model_validate(platform.execution_options(connection, name))
    context = Context(settings, services, name, report)
    with worker_pool(settings.workers, warm=stage in ("train", "select", "publish")) as pool:
        from readmission.orchestration.runner import Run, draw_report, pipeline_lock, run_stage

        with pipeline_lock(context):
            run = Run(context, options, pool)
            result = run_stage(run, stage)
            if stage == "publish":
                draw_report(context)
    return result
