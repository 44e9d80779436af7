from hypothesis import given
from hypothesis import strategies as st

from readmission.evaluation.selection import rank
from readmission.results import TrainedModel


def model(f1: float, auc: float, idx: int = 0, kind: str = "decision_tree") -> TrainedModel:
    return TrainedModel(
        run_id=f"{f1}-{auc}-{idx}-{kind}",
        model_id="m",
        model_type=kind,
        cumulative_idx=idx,
        rows=100,
        n_features=4,
        trained_at="2026-01-01T00:00:00Z",
        fit_seconds=1.0,
        metrics={"val_f1_score": f1, "val_roc_auc": auc},
    )


def test_f1_comes_first() -> None:
    better, worse = model(0.6, 0.5), model(0.5, 0.9)
    assert rank([worse, better]) == (better, worse)


def test_area_under_the_curve_breaks_a_tie() -> None:
    better, worse = model(0.6, 0.7), model(0.6, 0.6)
    assert rank([worse, better]) == (better, worse)


def test_then_the_smaller_set_then_the_name() -> None:
    expected = (model(0.6, 0.7, 0), model(0.6, 0.7, 1, "a"), model(0.6, 0.7, 1, "b"))
    assert rank(expected[::-1]) == expected


figures = st.sampled_from([0.5, 0.55, 0.6])
models = st.builds(model, figures, figures, st.integers(0, 3), st.sampled_from(["a", "b", "c"]))


@given(st.lists(models, min_size=1, max_size=12, unique_by=lambda item: item.run_id).flatmap(
    lambda items: st.tuples(st.just(items), st.permutations(items))
))  # fmt: skip
def test_the_order_given_does_not_matter(both: tuple[list[TrainedModel], list[TrainedModel]]) -> None:
    items, shuffled = both
    ranking = rank(items)
    assert ranking == rank(shuffled)
    merits = [(item.metrics["val_f1_score"], item.metrics["val_roc_auc"]) for item in ranking]
    assert merits == sorted(merits, reverse=True)
