"""The tables of :mod:`readmission.dataset.synthetic.aggregates` as distributions to draw from."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from readmission import schema
from readmission.dataset.synthetic.aggregates import (
    LAST_LABEL,
    MAX_SIZE,
    TREATMENT,
    TREATMENT_COLUMNS,
    Group,
    Node,
    Table,
    Tables,
)
from readmission.dataset.synthetic.distributions import Codes, Distributions, Weights

_TAIL = -3.0
"""Exponent of a number's weight within a merged range: counts of visits have long tails."""
_FITTING_TURNS = 10


class Variable:
    """One node of the network.

    Args:
        node: its parents and tables.
        levels: its own number of levels and those of its parents, by name.
        own: its own name.
    """

    def __init__(self, node: Node, levels: Mapping[str, int], own: str) -> None:
        self.parents = [(name, levels[name]) for name in node["parents"]]
        chance, mass = np.ones((1, levels[own])), np.zeros((1, levels[own]))
        for table, fan in zip(node["tables"], [1, *(count for _, count in self.parents)], strict=True):
            chance, mass = _refined(table, chance, mass, fan)
        self._distributions = Distributions.build(chance)

    def draw(self, rng: np.random.Generator, known: Mapping[str, Codes]) -> Codes:
        """Draw the variable for every row, given its parents.

        Args:
            rng: source of randomness.
            known: codes by variable, each of shape ``(rows,)``; at least one parent among them.

        Returns:
            Codes, shape ``(rows,)``.
        """
        (first, _), *others = self.parents
        context = known[first]
        for name, levels in others:
            context = context * np.int32(levels) + known[name]
        return self._distributions.draw(rng, context)


class Words:
    """The texts of a column, drawn given their group.

    Attributes:
        texts: every value as the file writes it, shape ``(values,)``.
    """

    def __init__(self, groups: Sequence[Group]) -> None:
        expanded = [_expanded(group) for group in groups]
        widest = max(len(members) for members in expanded)
        weights = np.zeros((len(groups), widest))
        for row, members in enumerate(expanded):
            weights[row, : len(members)] = list(members.values())
        self.texts = pa.array([text for members in expanded for text in members])
        self._starts = np.cumsum([0, *(len(members) for members in expanded[:-1])]).astype(np.int32)
        self._several = np.array([len(members) > 1 for members in expanded])
        self._distributions = Distributions.build(weights)

    def draw(self, rng: np.random.Generator, group: Codes) -> Codes:
        """Draw indices into ``texts`` for rows of the given groups, shape ``(rows,)``."""
        position = self._starts.take(group)
        open_rows = np.flatnonzero(self._several.take(group))
        position[open_rows] += self._distributions.draw(rng, group[open_rows])
        return position


class Treatments(Words):
    """The texts of the 25 treatment columns, joined by commas, some with one rarer medication added."""

    def __init__(self, groups: Sequence[Group], extras: Mapping[str, Group]) -> None:
        super().__init__(groups)
        plain = [tuple(text.split(",")) for text in self.texts.to_pylist()]
        names = sorted({name for extra in extras.values() for name in extra["values"]})
        self._width = len(names) + 1
        self._extra = Distributions.build(_extra_weights(plain, names, groups, extras))
        self.texts = pa.array([_with_extra(fields, name) for fields in plain for name in ("", *names)])

    def draw(self, rng: np.random.Generator, group: Codes) -> Codes:
        """Draw indices into ``texts`` for rows of the given groups, shape ``(rows,)``."""
        plain = super().draw(rng, group)
        return plain * np.int32(self._width) + self._extra.draw(rng, plain)


@dataclass(frozen=True)
class Network:
    """Everything that records are drawn from.

    Attributes:
        variables: by name, those of a patient first, then those of an encounter in drawing order.
        words: texts by column, the treatment's 25 columns as one.
        sizes: texts of the numbers of encounters that a patient may have.
    """

    variables: dict[str, Variable]
    words: dict[str, Words]
    sizes: Words

    @classmethod
    def build(cls, tables: Tables) -> "Network":
        """Build the network from stored tables."""
        groups = tables["groups"]
        levels = {name: len(members) for name, members in groups.items()}
        levels |= {"size": MAX_SIZE, "later": 2, "step": 2}
        levels |= dict.fromkeys((schema.LABEL_COLUMN, LAST_LABEL), len(schema.LABELS))
        variables = {name: Variable(node, levels, name) for name, node in tables["nodes"].items()}
        words = {name: Words(members) for name, members in groups.items() if name != TREATMENT}
        words[TREATMENT] = Treatments(groups[TREATMENT], tables["extras"])
        return cls(variables, words, Words([tables["sizes"]]))


def _refined(table: Table, chance: Weights, mass: Weights, fan: int) -> tuple[Weights, Weights]:
    """Condition a variable on one more parent.

    Args:
        table: the counts given that parent too.
        chance: distributions given the earlier parents, shape ``(contexts, levels)``.
        mass: the row counts behind them, same shape; 0 for a context that was too rare.
        fan: levels of the new parent.

    Returns:
        ``chance`` and ``mass``, shape ``(contexts * fan, levels)``. Cells that the table leaves out are filled in, so
        that the rows of every level still add up (iterative proportional fitting, Deming and Stephan 1940).
    """
    contexts, levels = chance.shape
    flat = np.zeros(contexts * fan * (levels + 1))
    flat[table["cells"]] = table["counts"]
    counts = flat.reshape(contexts, fan, levels + 1)
    shown, rest = counts[:, :, :-1], counts[:, :, -1]
    missing = np.maximum(mass.sum(axis=1) - counts.sum(axis=(1, 2)), 0)  # rows of contexts that the table leaves out
    level_rows = np.maximum(mass - shown.sum(axis=1), 0)
    context_rows = np.column_stack([rest, missing])
    hidden = np.concatenate([shown == 0, np.ones((contexts, 1, levels), bool)], axis=1) * chance[:, None, :]
    for _ in range(_FITTING_TURNS):
        hidden *= _ratio(level_rows, hidden.sum(axis=1))[:, None, :]
        hidden *= _ratio(context_rows, hidden.sum(axis=2))[:, :, None]
    finer = (shown + hidden[:, :-1]).reshape(-1, levels)
    rare = np.repeat(_normalised(hidden[:, -1], chance), fan, axis=0)
    return _normalised(finer, rare), finer


def _ratio(wanted: Weights, found: Weights) -> Weights:
    return np.divide(wanted, found, out=np.zeros_like(found), where=found > 0)


def _normalised(weights: Weights, otherwise: Weights) -> Weights:
    """Each row divided by its sum; a row of zeros is replaced by that of ``otherwise``."""
    total = weights.sum(axis=1, keepdims=True)
    return np.where(total > 0, weights / np.where(total > 0, total, 1), otherwise)


def _expanded(group: Group) -> dict[str, float]:
    weights: dict[str, float] = {}
    for value, count in zip(group["values"], group["counts"], strict=True):
        low, found, high = value.partition("..")
        numbers = range(int(low), int(high) + 1) if found else ()
        tail = {str(number): max(number, 1) ** _TAIL for number in numbers} or {value: 1.0}
        scale = count / sum(tail.values())
        weights |= {text: weight * scale for text, weight in tail.items()}
    return weights


def _extra_weights(
    plain: Sequence[tuple[str, ...]], names: Sequence[str], groups: Sequence[Group], extras: Mapping[str, Group]
) -> Weights:
    """Weight of no extra medication and of each one, by treatment: shape ``(treatments, 1 + extras)``."""
    counts = [count for group in groups for count in group["counts"]]
    states = [fields[-2:] for fields in plain]
    rows: Counter[tuple[str, ...]] = Counter()
    for state, count in zip(states, counts, strict=True):
        rows[state] += count
    weights = np.zeros((len(plain), 1 + len(names)))
    for row, (change, medicated) in enumerate(states):
        if medicated == "Yes":
            extra = dict(zip(extras[change]["values"], extras[change]["counts"], strict=True))
            weights[row, 1:] = [extra.get(name, 0) for name in names]
        weights[row, 0] = max(rows[change, medicated] - weights[row].sum(), 1)
    return weights


def _with_extra(fields: tuple[str, ...], extra: str) -> str:
    name, _, level = extra.partition("=")
    # a medication that the treatment has already stays as it is
    return ",".join(
        level if column == name and text == "No" else text
        for column, text in zip(TREATMENT_COLUMNS, fields, strict=True)
    )
