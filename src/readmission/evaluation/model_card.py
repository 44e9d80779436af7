"""The model card (Mitchell et al. 2019, https://doi.org/10.1145/3287560.3287596), written from the results of a run."""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from markdown_it import MarkdownIt

from readmission.evaluation.importance import Importance
from readmission.evaluation.learning_curves import STEP_ROWS, Curve
from readmission.results import Interval, Publication, Selection, Slice

_METRICS = {
    "f1_score": "weighted F1",
    "f1_macro": "macro F1",
    "accuracy": "accuracy",
    "roc_auc_macro": "ROC-AUC, one against the rest, macro",
    "lt30_roc_auc": "ROC-AUC of <30",
    "lt30_pr_auc": "PR-AUC of <30",
    "lt30_ece": "calibration error of <30 (15 bins of equal mass)",
}

_LICENCES = {
    "real": "UCI Diabetes 130-US hospitals for years 1999-2008 is CC BY 4.0 (Strack et al. 2014,"
    " https://doi.org/10.1155/2014/781670). Your own data has its own licence.",
    "synthetic": "Synthetic records, made from aggregate tables of UCI Diabetes 130-US hospitals (CC BY 4.0).",
}

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}"
    "table{border-collapse:collapse;margin:1rem 0}td,th{border:1px solid #ccc;padding:.25rem .6rem;text-align:left}"
    "img{max-width:100%}"
)


@dataclass(frozen=True, slots=True)
class Findings:
    """The content of a card.

    Attributes:
        name: of the registered model.
        data: tags that say where the data came from.
        selection, publication: of the run.
        decision_rule: in words.
        curves: of each type of model.
        importances: of the clean columns.
        figures: file names and captions, in order.
    """

    name: str
    data: Mapping[str, str]
    selection: Selection
    publication: Publication
    decision_rule: str
    curves: Sequence[Curve]
    importances: Sequence[Importance]
    figures: Mapping[str, str]


def write_card(found: Findings) -> str:
    """Format the card as Markdown, which refers to its figures as files in the same folder."""
    sections = (
        _title(found),
        _use(found),
        _figures_of_merit(found),
        _expired(found),
        _learning(found.curves),
        _winners(found.selection),
        _groups(found.selection.slices),
        _importance(found.importances),
        "\n\n".join(f"![{caption}]({file})" for file, caption in found.figures.items()),
        f"## Data\n\n{_LICENCES[found.data['data_kind']]}",
    )
    return "\n\n".join(sections) + "\n"


def to_html(markdown: str, images: Mapping[str, bytes]) -> str:
    """Convert a card to one HTML page with embedded figures.

    Args:
        markdown: the card.
        images: PNG files by the name that the card uses.
    """
    body = MarkdownIt("commonmark", {"html": False}).enable("table").render(markdown)
    for name, content in images.items():
        data = base64.b64encode(content).decode()
        body = body.replace(f'src="{name}"', f'src="data:image/png;base64,{data}"')
    title = html.escape(markdown.splitlines()[0].removeprefix("# "))
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{body}</body></html>\n'


def _title(found: Findings) -> str:
    best, publication = found.selection.best, found.publication
    synthetic = "\n\n**Trained on synthetic records: not for use on patients.**"
    rows = [
        ("type", best.model_type),
        ("trained on", f"{best.rows:,} encounters, cumulative set {best.cumulative_idx}, {best.n_features} features"),
        ("trained at", best.trained_at),
        ("data", f"{found.data['data_source']} ({found.data['data_kind']})"),
        ("decision rule", found.decision_rule),
        ("promotion gate", f"{publication.decision}: {'; '.join(publication.reasons)}"),
    ]
    warning = synthetic if found.data["data_kind"] == "synthetic" else ""
    return f"# {_cell(found.name)}, version {publication.version}{warning}\n\n{_table(('', ''), rows)}"


def _use(found: Findings) -> str:
    return f"""## Intended use and limits

It estimates, at discharge, whether a diabetes patient returns to hospital: not (NO), after more than 30 days (>30) or
within 30 days (<30), so that follow-up calls can be planned. It is for research and education and is not a medical
device. Its probabilities are those of US hospitals of 1999 to 2008; elsewhere they must be checked first. Returns to
other hospitals are not in the data. It was measured on {found.selection.rows["test"]:,} encounters that it was not
trained on. It misses most stays that are followed by a return within 30 days: a prediction other than <30 is no reason
to omit a follow-up call."""


def _figures_of_merit(found: Findings) -> str:
    intervals = found.selection.intervals
    rows = [
        (title, _shown(intervals[f"val_{name}"]), _shown(intervals[f"test_{name}"])) for name, title in _METRICS.items()
    ]
    note = "Intervals are 95 %, patients resampled. The test split was used once, after the model was chosen."
    return f"## How good it is\n\n{_table(('', 'validation', 'test'), rows)}\n\n{note}"


def _expired(found: Findings) -> str:
    expired, test = found.selection.expired, found.selection.metrics["test_f1_score"]
    if expired is None or not expired.rows:
        return "Stays that ended in death or hospice were left out (`--exclude-expired`)."
    return (
        f"In the test split {expired.rows:,} stays ({expired.share:.1%}) ended in death or hospice, after which"
        f" patients rarely return. Weighted F1 is {test:.4f} with them and {expired.f1_without:.4f} without"
        f" ({test - expired.f1_without:+.4f}). `--exclude-expired` leaves them out."
    )


def _learning(curves: Sequence[Curve]) -> str:
    rows = [
        (
            curve.model_type,
            f"{curve.f1_score[0].value:.4f} at {curve.rows[0]:,}",
            f"{curve.f1_score[-1].value:.4f} at {curve.rows[-1]:,}",
            _shown(curve.per_step, "+.4f") if curve.per_step else "",
            _shown(curve.last_step, "+.4f") if curve.last_step else "",
        )
        for curve in curves
    ]
    head = ("type", "smallest set", "largest set", f"per {STEP_ROWS:,} rows", "last step")
    verdicts = "\n".join(f"- {curve.model_type}: {_verdict(curve)}" for curve in curves)
    return f"## Does more data help?\n\nWeighted F1 on validation.\n\n{_table(head, rows)}\n\n{verdicts}"


def _verdict(curve: Curve) -> str:
    if curve.per_step is None:
        return "only one set, nothing to compare"
    if curve.per_step.low > 0:
        return "more data improves it significantly"
    if curve.per_step.high < 0:
        return "more data makes it significantly worse"
    return "no significant effect of more data"


def _winners(selection: Selection) -> str:
    """The best and the fastest type on each set."""
    sets = sorted({model.cumulative_idx for model in selection.ranking})
    rows = []
    for number in sets:
        models = [model for model in selection.ranking if model.cumulative_idx == number]  # best first
        best, fastest = models[0], min(models, key=lambda model: model.fit_seconds)
        rows.append(
            (
                f"{number} ({best.rows:,} rows)",
                f"{best.model_type} ({best.metrics['val_f1_score']:.4f}, {best.fit_seconds:.1f} s)",
                f"{fastest.model_type} ({fastest.metrics['val_f1_score']:.4f}, {fastest.fit_seconds:.1f} s)",
            )
        )
    return f"## Which type wins, and what the time buys\n\n{_table(('set', 'best', 'fastest to fit'), rows)}"


def _groups(slices: Sequence[Slice]) -> str:
    rows = [
        (
            found.attribute,
            found.level,
            f"{found.rows:,}",
            f"{found.lt30_rows:,}",
            _shown(found.f1_score, ".3f"),
            _shown(found.lt30_recall, ".3f") if found.lt30_recall else "",
            _shown(found.selection_rate, ".3f"),
            _shown(found.calibration_gap, "+.3f"),
        )
        for found in slices
    ]
    head = ("", "group", "stays", "followed by <30", "weighted F1", "recall of <30", "predicted <30", "calibration gap")
    note = "On validation; the calibration gap is the mean probability of <30 minus its share."
    return f"## For whom\n\n{note}\n\n{_table(head, rows)}"


def _importance(importances: Sequence[Importance], most: int = 15) -> str:
    rows = [(found.name, f"{found.loss:.5f}", f"{found.spread:.5f}") for found in importances[:most]]
    head = ("column", "increase of the log loss when shuffled", "spread")
    return f"## What it looks at\n\n{_table(head, rows)}"


def _shown(figure: Interval, form: str = ".4f") -> str:
    return f"{figure.value:{form}} ({figure.low:{form}} to {figure.high:{form}})"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def _cell(text: str) -> str:
    """Keep a text from ending its cell or becoming HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;")
