"""What the command line shows: live progress on a terminal, plain lines elsewhere, and tables."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, Task, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Table
from rich.text import Text

from readmission.context import Progress, Report
from readmission.results import Expired, Publication, Selection

_COLUMNS = ("accuracy", "precision", "recall", "f1_score", "roc_auc")
_SHORT = {"accuracy": "acc", "precision": "prec", "recall": "rec", "f1_score": "F1", "roc_auc": "AUC"}


TABLE_WIDTH = 126
"""What the table of models needs; a narrower terminal wraps its lines rather than hide figures."""


def wide(console: Console) -> Console:
    """The same console, at least as wide as the table of models."""
    return Console(file=console.file, width=max(console.width, TABLE_WIDTH), force_terminal=console.is_terminal)


@contextmanager
def progress(console: Console) -> Iterator[Report]:
    """Show progress: one live line on a terminal; elsewhere a plain line whenever something begins or ends."""
    if not console.is_terminal:
        yield _PlainLines(console).report
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        _Count(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=console, transient=True) as bars:
        yield _LiveLine(console, bars).report


class _Count(MofNCompleteColumn):
    """How much of how much is done; nothing where that is not known."""

    def render(self, task: Task) -> Text:
        return Text() if task.total is None else super().render(task)


class _LiveLine:
    """One line that moves; steps of unknown size also leave a line behind, each once.

    Two tasks take turns, for rich cannot take a total back: to it, None means "as before".
    """

    def __init__(self, console: Console, bars: Bars) -> None:
        self._console = console
        self._bars = bars
        self._uncounted = bars.add_task("starting", total=None)
        self._counted = bars.add_task("", total=None, visible=False)
        self._last = "starting"

    def report(self, step: Progress) -> None:
        shown, hidden = (self._counted, self._uncounted) if step.total else (self._uncounted, self._counted)
        leaves_line = not step.total and step.what != self._last
        self._bars.update(hidden, visible=False)
        self._bars.update(
            shown,
            visible=True,
            description=escape(step.what),
            completed=step.done,
            total=step.total or None,
            refresh=leaves_line,
        )
        if leaves_line:
            self._console.print(step.what, highlight=False, markup=False)
        self._last = step.what


class _PlainLines:
    """Plain lines; of work that reports often only the begin and the end."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last = ""

    def report(self, step: Progress) -> None:
        text = f"{step.what} ({step.done}/{step.total})" if step.total and step.total < _MANY else step.what
        if text != self._last:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)
        self._last = text


_MANY = 10_000
"""A total beyond this counts bytes or rows, not steps: the figures would make a new line each time."""


def result_table(selection: Selection) -> Table:
    """Every model, best first, the winner marked."""
    best = selection.best
    title = f"{len(selection.ranking)} models, best first; the winner is marked; set k holds batches 0 to k"
    table = Table(title=title, title_justify="left", box=SIMPLE, padding=(0, 1, 0, 0))
    for name in ("", "set", "rows", "type"):
        table.add_column(name, justify="left" if name == "type" else "right", no_wrap=True)
    for part in ("train", "val"):
        for metric in _COLUMNS:
            table.add_column(f"{part}\n{_SHORT[metric]}", justify="right", no_wrap=True)
    for model in selection.ranking:
        figures = [f"{model.metrics[f'{part}_{metric}']:.4f}" for part in ("train", "val") for metric in _COLUMNS]
        winner = model.run_id == best.run_id
        cells = ["*" if winner else "", str(model.cumulative_idx), f"{model.rows:,}", model.model_type, *figures]
        table.add_row(*cells, style="bold green" if winner else "")
    return table


def winner_line(selection: Selection) -> str:
    """The winner on the test part, in one line."""
    metrics = selection.metrics
    return (
        f"Winner: {selection.best.model_type} on {selection.best.rows:,} rows; test accuracy"
        f" {metrics['test_accuracy']:.4f}, F1 {metrics['test_f1_score']:.4f}, ROC-AUC {metrics['test_roc_auc']:.4f}"
    )


def decision_line(publication: Publication) -> str:
    """What became of the winner, in one line."""
    if publication.decision == "published":
        return f"Published: version {publication.version} is in production"
    stays = f"version {publication.previous} stays" if publication.previous else "nothing is"
    reasons = "; ".join(publication.reasons)
    return f"Refused: version {publication.version} is registered, {stays} in production: {reasons}"


def expired_line(expired: Expired, test_f1: float) -> str:
    """What stays that ended in death or hospice carry of the score, in one line."""
    return (
        f"{expired.rows:,} of the test stays ({expired.share:.1%}) ended in death or hospice; without them F1 is"
        f" {expired.f1_without:.4f} ({expired.f1_without - test_f1:+.4f}); --exclude-expired leaves them out"
    )


def address_table(addresses: Mapping[str, str]) -> Table:
    """Names and addresses, a line each."""
    table = Table(show_header=False, box=None)
    for name, address in addresses.items():
        table.add_row(name, address)
    return table


def check_table(checks: Sequence[tuple[str, bool, str, str]]) -> Table:
    """Findings of the doctor: name, whether all is well, detail, advice."""
    table = Table("", "what", "found", "what to do")
    for name, ok, detail, advice in checks:
        table.add_row("ok" if ok else "!!", name, detail, advice, style="" if ok else "yellow")
    return table
