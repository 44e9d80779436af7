"""``readmission pipeline ...``: the whole pipeline, or one stage of it."""

from typing import Annotated

import typer
from rich.console import Console

from readmission.cli.options import ChosenOptions, takes_options
from readmission.orchestration.steps import STAGES
from readmission.settings import load_settings

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON summary as the last line of standard output.")]
ExecutionName = Annotated[str | None, typer.Option(help="The execution that a stage belongs to. Default: the latest.")]

app = typer.Typer(no_args_is_help=True, help="Train, compare and publish models.")


@app.command()
@takes_options
def run(options: ChosenOptions, json: AsJson = False) -> None:
    """Run every stage on the running stack."""
    chosen, settings = options(), load_settings()
    from readmission.cli.console import progress
    from readmission.cli.launch import show_results
    from readmission.context import Context, new_execution
    from readmission.orchestration.runner import run_pipeline
    from readmission.services import resolve_services

    with progress(Console(stderr=True)) as report:
        summary = run_pipeline(Context(settings, resolve_services(settings), new_execution(), report), chosen)
    if json:
        print(summary.model_dump_json())
    else:
        show_results(settings, Console())


@app.command()
@takes_options
def download(options: ChosenOptions, json: AsJson = False) -> None:
    """Begin an execution with these options and run its first stage alone."""
    chosen, settings = options(), load_settings()
    from readmission.cli.console import progress
    from readmission.orchestration.runner import begin_execution
    from readmission.services import resolve_services

    with progress(Console(stderr=True)) as report:
        dataset = begin_execution(settings, resolve_services(settings), chosen, report)
    if json:
        print(dataset.model_dump_json())


def _stage_command(stage: str) -> None:
    @app.command(stage, help=f"Run the stage {stage} alone, on the results of earlier stages.")
    def command(execution: ExecutionName = None, json: AsJson = False) -> None:
        _run_stage(stage, execution, json)


def _run_stage(stage: str, execution: str | None, json: bool) -> None:
    settings = load_settings()
    from readmission.cli.console import progress
    from readmission.orchestration.runner import continue_execution
    from readmission.services import resolve_services

    with progress(Console(stderr=True)) as report:
        result = continue_execution(settings, resolve_services(settings), execution, stage, report)
    if json:
        print(result.model_dump_json())


for _stage in STAGES[1:]:
    _stage_command(_stage)
