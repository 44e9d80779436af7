"""The charts of an execution, logged to its parent run."""

from collections.abc import Sequence

from matplotlib.figure import Figure
from mlflow import MlflowClient

from readmission.results import Selection, TrainedModel

CHARTS = {"accuracy": "accuracy", "precision": "precision", "recall": "recall", "f1_score": "F1 score"}
"""The requested charts: metrics and titles; precision, recall and F1 are weighted over the classes."""

SPLITS = {"train": "Training", "val": "Validation"}


def log_report(client: MlflowClient, run_id: str, selection: Selection) -> None:
    """Draw and log a chart of all models per split and metric.

    Args:
        client: of the tracking server.
        run_id: of the execution's run.
        selection: every model, best first.
    """
    for split, split_title in SPLITS.items():
        for metric, title in CHARTS.items():
            figure = bar_chart(selection.ranking, f"{split}_{metric}", f"{split_title} {title}", selection.best.run_id)
            client.log_figure(run_id, figure, f"charts/{split}_{metric}.png")


def bar_chart(models: Sequence[TrainedModel], metric: str, title: str, winner: str) -> Figure:
    """Draw one metric of every model, grouped by type, from the smallest set to the largest; the winner is outlined."""
    figure = Figure(figsize=(11, 5), layout="constrained")
    axes = figure.add_subplot()
    types = sorted({model.model_type for model in models})
    sets = sorted({model.cumulative_idx for model in models})
    width = 0.8 / len(sets)
    for model in models:
        position = types.index(model.model_type) + (sets.index(model.cumulative_idx) - (len(sets) - 1) / 2) * width
        shade = 0.35 + 0.6 * sets.index(model.cumulative_idx) / max(1, len(sets) - 1)
        edge = "crimson" if model.run_id == winner else "white"
        bars = axes.bar(
            position, model.metrics[metric], width, color=(0.12, 0.38, 0.62, shade), edgecolor=edge, linewidth=1.5
        )
        axes.bar_label(bars, fmt="%.3f", rotation=90, fontsize=7, padding=2)
    values = [model.metrics[metric] for model in models]
    margin = max(0.01, (max(values) - min(values)) * 0.25)
    axes.set_ylim(max(0.0, min(values) - margin), min(1.0, max(values) + 1.5 * margin))
    axes.set_xticks(range(len(types)), [name.replace("_", " ") for name in types])
    axes.set_title(
        f"{title}: {len(models)} models; paler: less data; outlined: the winner (the axis does not start at 0)"
    )
    axes.spines[["top", "right"]].set_visible(False)
    return figure
