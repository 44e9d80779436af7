"""Commands that look at registered models, tune a challenger, and move production by hand."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from readmission.settings import load_settings

if TYPE_CHECKING:
    from readmission.results import Move

Reason = Annotated[str, typer.Option(help="Why, for the log of promotions.")]

app = typer.Typer(no_args_is_help=True, help="Look at registered models.")


def promote(version: str, reason: Reason = "") -> None:
    """Point production at a registered version, whatever the promotion gate said of it."""
    settings = load_settings()
    from readmission.registry.manual import promote_by_hand
    from readmission.services import resolve_services

    _print_move(promote_by_hand(settings, resolve_services(settings), version, reason))


def rollback(reason: Reason = "") -> None:
    """Point production back at the version that was there before the present one."""
    settings = load_settings()
    from readmission.registry.manual import roll_back
    from readmission.services import resolve_services

    _print_move(roll_back(settings, resolve_services(settings), reason))


def _print_move(move: "Move") -> None:
    print(f"Production moved from version {move.from_version or 'none'} to version {move.to_version}")


def tune(
    minutes: Annotated[float, typer.Option(min=0, help="Budget; the fit under way is finished.")] = 10.0,
    output: Annotated[Path, typer.Option(help="File for READMISSION_TUNING.")] = Path("tuning.json"),
) -> None:
    """Search parameters of tuned_boosting on the training rows that are stored, out of fold; it looks at no others."""
    settings = load_settings()
    from readmission.cli.console import progress
    from readmission.orchestration.tuning import tune as search
    from readmission.services import resolve_services

    with progress(Console(stderr=True)) as report:
        found = search(settings, resolve_services(settings), minutes, output, report)
    print(f"{found.trials} trials, log loss {found.log_loss:.5f} (default {found.default_log_loss:.5f}): {output}")
    print(f"READMISSION_TUNING={output} readmission pipeline run --challengers tuned_boosting")


@app.command()
def card(
    version: Annotated[str | None, typer.Argument(help="Default: the version in production.")] = None,
    html: Annotated[Path | None, typer.Option(help="Write the card with its figures to this file.")] = None,
) -> None:
    """Show the model card of a version."""
    settings = load_settings()
    from rich.markdown import Markdown

    from readmission.registry.card import HTML, fetch_card
    from readmission.services import resolve_services

    services = resolve_services(settings)
    if html:
        html.write_text(fetch_card(settings, services, version, HTML))
    else:
        Console().print(Markdown(fetch_card(settings, services, version)))


# With a single command Typer would leave its name out.
@app.callback()
def _models() -> None:
    pass
