"""The figures of a model card, drawn from predictions for rows that the model was not trained on."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import confusion_matrix, precision_recall_curve, roc_curve

from readmission.evaluation.importance import Importance
from readmission.evaluation.learning_curves import Curve
from readmission.evaluation.metrics import CALIBRATION_BINS, LT30, Labels, Probabilities, equal_mass_bins
from readmission.results import Slice
from readmission.schema import LABELS

_WIDE = (9.0, 5.0)


def learning_figure(curves: Sequence[Curve]) -> Figure:
    """Weighted F1 against the number of training rows, with intervals."""
    figure, axes = _figure("training rows", "weighted F1 on validation", "Does more data help?")
    for index, curve in enumerate(curves):
        values = [point.value for point in curve.f1_score]
        low = [point.value - point.low for point in curve.f1_score]
        high = [point.high - point.value for point in curve.f1_score]
        shifted = np.array(curve.rows) + (index - len(curves) / 2) * 400  # so that the error bars do not overlap
        label = curve.model_type.replace("_", " ")
        axes.errorbar(shifted, values, yerr=[low, high], fmt="-o", capsize=3, color=f"C{index}", label=label)
    axes.legend(frameon=False)
    return figure


def roc_figure(truth: Labels, probabilities: Probabilities) -> Figure:
    """ROC curve of each class against the rest."""
    figure, axes = _figure("false positive rate", "true positive rate", "ROC curves, each class against the rest")
    for index, label in enumerate(LABELS):
        false, true, _ = roc_curve(truth == index, probabilities[:, index])
        axes.plot(false, true, label=label)
    axes.plot([0, 1], [0, 1], ":", color="grey")
    axes.legend(frameon=False)
    return figure


def precision_figure(truth: Labels, probabilities: Probabilities) -> Figure:
    """Precision-recall curve of each class against the rest."""
    figure, axes = _figure("recall", "precision", "Precision and recall, each class against the rest")
    for index, label in enumerate(LABELS):
        precision, recall, _ = precision_recall_curve(truth == index, probabilities[:, index])
        (line,) = axes.plot(recall, precision, label=label)
        axes.axhline(float((truth == index).mean()), linestyle=":", color=line.get_color(), linewidth=1)
    axes.legend(frameon=False)
    return figure


def calibration_figure(truth: Labels, probabilities: Probabilities) -> Figure:
    """Calibration curve of ``<30``: observed share against mean probability, in bins of equal mass."""
    figure, axes = _figure("mean probability of <30", "observed share of <30", "Calibration of <30")
    bins = equal_mass_bins(probabilities[:, LT30], CALIBRATION_BINS)
    counts = np.bincount(bins)
    predicted = np.bincount(bins, probabilities[:, LT30]) / counts
    seen = np.bincount(bins, truth == LT30) / counts
    error = 1.96 * np.sqrt(seen * (1 - seen) / counts)
    axes.errorbar(predicted, seen, yerr=error, fmt="o", capsize=3)
    top = float(max(predicted.max(), (seen + error).max())) * 1.05
    axes.plot([0, top], [0, top], ":", color="grey")
    return figure


def confusion_figure(truth: Labels, predicted: Labels) -> Figure:
    """Confusion matrix, normalised by true class."""
    counts = confusion_matrix(truth, predicted, labels=list(range(len(LABELS))))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure, axes = _figure("answered", "true", "Confusion matrix: rows and share of the true class")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row in range(len(LABELS)):
        for column in range(len(LABELS)):
            text = f"{counts[row, column]:,}\n{shares[row, column]:.0%}"
            color = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, text, ha="center", va="center", color=color)
    axes.set_xticks(range(len(LABELS)), LABELS)
    axes.set_yticks(range(len(LABELS)), LABELS)
    axes.grid(visible=False)
    return figure


def slices_figure(slices: Sequence[Slice]) -> Figure:
    """Weighted F1 of each group, with intervals."""
    figure, axes = _figure("weighted F1", "", "By group of patients")
    names = [f"{found.attribute}: {found.level} ({found.rows:,})" for found in slices]
    values = np.array([found.f1_score.value for found in slices])
    low = values - [found.f1_score.low for found in slices]
    high = np.array([found.f1_score.high for found in slices]) - values
    axes.errorbar(values, range(len(slices)), xerr=[low, high], fmt="o", capsize=3)
    axes.set_yticks(range(len(slices)), names)
    axes.invert_yaxis()
    return figure


def importance_figure(importances: Sequence[Importance], most: int = 20) -> Figure:
    """The most important columns."""
    shown = importances[:most][::-1]
    figure, axes = _figure("increase of the log loss when shuffled", "", "Permutation importance")
    axes.barh([found.name for found in shown], [found.loss for found in shown], xerr=[found.spread for found in shown])
    return figure


def _figure(x: str, y: str, title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_WIDE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.set_title(title)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes
