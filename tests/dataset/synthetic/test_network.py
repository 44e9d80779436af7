import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from readmission.dataset.synthetic.aggregates import TREATMENT_COLUMNS, Group, Node, Table
from readmission.dataset.synthetic.distributions import Codes
from readmission.dataset.synthetic.network import Treatments, Variable, Words

ROWS = 200_000
PLAIN = ",".join(["No"] * 25)
LEVELS = {"parent": 2, "child": 3}


def shares(variable: Variable, parent: int) -> list[float]:
    known = {"parent": np.full(ROWS, parent, dtype=np.int32)}
    drawn = variable.draw(np.random.default_rng(3), known)
    return [count / ROWS for count in np.bincount(drawn, minlength=3).tolist()]


def variable(marginal: Table, given_parent: Table) -> Variable:
    node: Node = {"parents": ["parent"], "tables": [marginal, given_parent]}
    return Variable(node, LEVELS, "child")


def table(*cells: tuple[int, int]) -> Table:
    return {"cells": [cell for cell, _ in cells], "counts": [count for _, count in cells]}


def treatment(**changes: str) -> str:
    fields = dict.fromkeys(TREATMENT_COLUMNS, "No") | changes
    return ",".join(fields.values())


class TestVariable:
    def test_shown_cells_are_kept(self) -> None:
        drawn = variable(table((0, 60), (1, 60), (2, 80)), table((0, 50), (1, 50), (4, 10), (5, 10), (6, 80)))
        assert shares(drawn, 0) == pytest.approx([0.5, 0.5, 0], abs=0.005)
        assert shares(drawn, 1) == pytest.approx([0.1, 0.1, 0.8], abs=0.005)

    def test_a_remainder_goes_to_the_levels_that_are_not_shown(self) -> None:
        # context 0: level 0 shown, 30 rows hidden; context 1: all shown
        drawn = variable(table((0, 100), (1, 120), (2, 110)), table((0, 70), (3, 30), (4, 30), (5, 100), (6, 100)))
        assert shares(drawn, 0) == pytest.approx([0.7, 0.2, 0.1], abs=0.005)

    def test_a_context_that_is_too_rare_gets_what_the_others_leave(self) -> None:
        drawn = variable(table((0, 100), (1, 50), (2, 50)), table((0, 100), (1, 50), (2, 40)))
        assert shares(drawn, 1) == pytest.approx([0, 0, 1], abs=0.005)

    def test_without_any_rows_left_it_gets_the_marginal(self) -> None:
        drawn = variable(table((0, 100), (1, 100)), table((0, 100), (1, 100)))
        assert shares(drawn, 1) == pytest.approx([0.5, 0.5, 0], abs=0.005)


class TestWords:
    @given(st.lists(st.lists(st.integers(11, 1000), min_size=1, max_size=5), min_size=1, max_size=6))
    def test_a_text_comes_from_its_group(self, counts: list[list[int]]) -> None:
        groups: list[Group] = [
            {"values": [f"{number}-{place}" for place in range(len(group))], "counts": group}
            for number, group in enumerate(counts)
        ]
        words = Words(groups)
        code: Codes = np.arange(500, dtype=np.int32) % len(groups)
        texts = words.texts.take(words.draw(np.random.default_rng(0), code)).to_pylist()
        assert [int(text.split("-")[0]) for text in texts] == code.tolist()

    def test_counts_decide(self) -> None:
        words = Words([{"values": ["a", "b"], "counts": [900, 100]}])
        drawn = words.draw(np.random.default_rng(0), np.zeros(ROWS, dtype=np.int32))
        assert np.bincount(drawn) / ROWS == pytest.approx([0.9, 0.1], abs=0.005)

    def test_a_range_is_spread_with_a_falling_tail(self) -> None:
        words = Words([{"values": ["0", "1..4"], "counts": [500, 500]}])
        assert words.texts.to_pylist() == ["0", "1", "2", "3", "4"]
        counts = np.bincount(words.draw(np.random.default_rng(0), np.zeros(ROWS, dtype=np.int32)))
        assert counts[0] / ROWS == pytest.approx(0.5, abs=0.005)
        assert list(counts[1:]) == sorted(counts[1:], reverse=True)


class TestTreatments:
    @pytest.fixture
    def treatments(self) -> Treatments:
        steady = treatment(insulin="Steady", diabetesMed="Yes")
        acarbose = treatment(acarbose="Up", change="Ch", diabetesMed="Yes")
        groups: list[Group] = [
            {"values": [PLAIN], "counts": [1000]},
            {"values": [steady, acarbose], "counts": [600, 400]},
        ]
        extras: dict[str, Group] = {
            "No": {"values": ["acarbose=Steady"], "counts": [60]},
            "Ch": {"values": ["acarbose=Steady"], "counts": [40]},
        }
        return Treatments(groups, extras)

    def draw(self, treatments: Treatments, group: int) -> dict[str, float]:
        drawn = treatments.draw(np.random.default_rng(0), np.full(ROWS, group, dtype=np.int32))
        texts = treatments.texts.to_pylist()
        found: dict[str, float] = {}
        for place, count in enumerate(np.bincount(drawn, minlength=len(texts)).tolist()):
            if count:
                found[texts[place]] = found.get(texts[place], 0.0) + count / ROWS
        return found

    def test_the_untreated_get_nothing(self, treatments: Treatments) -> None:
        assert self.draw(treatments, 0) == {PLAIN: 1.0}

    def test_the_treated_get_a_rare_medication_now_and_then(self, treatments: Treatments) -> None:
        both = treatment(insulin="Steady", acarbose="Steady", diabetesMed="Yes")
        assert self.draw(treatments, 1)[both] == pytest.approx(0.06, abs=0.005)

    def test_a_medication_that_is_held_already_stays(self, treatments: Treatments) -> None:
        held = treatment(acarbose="Up", change="Ch", diabetesMed="Yes")
        found = self.draw(treatments, 1)
        assert found[held] == pytest.approx(0.4, abs=0.005)
        assert len(found) == 3
