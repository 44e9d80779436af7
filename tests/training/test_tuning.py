"""The search of parameters: bounded, repeatable from its file, and never worse than what it began with."""

from pathlib import Path

import pytest

from readmission.errors import BadInputError
from readmission.training.estimators import TUNED_PARAMS, make_estimator
from readmission.training.tuned_parameters import TunedParams, read_params, write_params
from readmission.training.tuning import search
from training_sets import SmallSet


@pytest.fixture(scope="module")
def found(small_set: SmallSet) -> TunedParams:
    return search(small_set.train, small_set.encoder, "0" * 32, minutes=0.05, threads=2, report=lambda *_: None)


def test_it_is_never_worse_than_the_default(found: TunedParams) -> None:
    assert found.trials >= 1
    assert found.log_loss <= found.default_log_loss
    assert set(found.params) == set(TUNED_PARAMS)


def test_no_time_means_the_default_alone(small_set: SmallSet) -> None:
    told: list[str] = []
    found = search(small_set.train, small_set.encoder, "", 0, 2, lambda what, *_: told.append(what))
    assert found.trials == len(told) == 1
    assert found.log_loss == found.default_log_loss


def test_the_pipeline_reads_what_was_written(found: TunedParams, small_set: SmallSet, tmp_path: Path) -> None:
    write_params(found, tmp_path / "new" / "tuning.json")
    read = read_params(tmp_path / "new" / "tuning.json")
    assert read == found.params
    made = make_estimator("tuned_boosting", small_set.encoder, 1, read).get_params()
    assert {name: made[name] for name in read} == dict(read)


def test_without_a_file_it_is_the_projects_own() -> None:
    assert read_params(None) == TUNED_PARAMS


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"params": {"a": "b"}}', "\x00"])
def test_a_file_that_is_none_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "tuning.json"
    path.write_text(text)
    with pytest.raises(BadInputError, match=r"is no file of `readmission tune`$"):
        read_params(path)


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"No such file .*`readmission tune` writes it$"):
        read_params(tmp_path / "none.json")
