"""Arrays from a real clean table: the encoder knows the training rows only, the digest tells sets apart."""

import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from command_line import Outcome
from readmission.features.fit import fit_encoder
from readmission.features.rates import with_rates
from readmission.schema import IDENTIFIERS, LABELS
from readmission.services import Services, resolve_services
from readmission.settings import Settings
from readmission.training.preparation import PreparedSet, label_codes, prepare_set
from readmission.warehouse.clean import read_clean
from readmission.warehouse.connection import connect

VIEWS = ("train_cumulative_0", "train_cumulative_1")


@pytest.fixture(scope="module")
def servers(platform: Settings, finished: Outcome) -> Services:
    return resolve_services(platform)


@pytest.fixture(scope="module")
def sets(servers: Services, tmp_path_factory: pytest.TempPathFactory) -> dict[str, PreparedSet]:
    folder: Callable[[str], Path] = tmp_path_factory.mktemp("sets").joinpath
    return {view: prepare_set(servers, view, folder(view)) for view in VIEWS}


@pytest.mark.parametrize("view", VIEWS)
def test_arrays_hold_the_view(sets: dict[str, PreparedSet], servers: Services, view: str) -> None:
    with connect(servers.clean_url) as clean:
        table, validation = read_clean(clean, view), read_clean(clean, "validation_clean")
    prepared = sets[view]
    assert prepared.rows == table.num_rows
    assert prepared.encoder == with_rates(fit_encoder(table), table, label_codes(table))
    train = prepared.load("train")
    assert train.matrix.dtype == np.float32
    assert train.matrix.shape == (table.num_rows, len(prepared.encoder.features))
    assert [LABELS[code] for code in train.labels] == table.column("readmitted").to_pylist()
    assert len(prepared.load("validation").labels) == validation.num_rows
    assert label_codes(validation).tolist() == prepared.load("validation").labels.tolist()


def test_arrays_are_for_their_owner_only(sets: dict[str, PreparedSet]) -> None:
    """The folder of all state may be open to pass through, for PostgreSQL's sake."""
    assert {stat.S_IMODE(prepared.folder.stat().st_mode) for prepared in sets.values()} == {0o700}


def test_identifiers_never_reach_an_estimator(sets: dict[str, PreparedSet]) -> None:
    for prepared in sets.values():
        assert not [name for name in prepared.encoder.names if name in (*IDENTIFIERS, "row_id", "batch_id")]


def test_different_rows_have_different_digests(sets: dict[str, PreparedSet]) -> None:
    assert len({prepared.digest for prepared in sets.values()}) == 2


def test_reading_again_gives_the_same_arrays(sets: dict[str, PreparedSet], servers: Services, tmp_path: Path) -> None:
    again = prepare_set(servers, VIEWS[0], tmp_path / "again")
    assert again.digest == sets[VIEWS[0]].digest
    assert again.encoder_json == sets[VIEWS[0]].encoder_json
    np.testing.assert_array_equal(again.load("validation").matrix, sets[VIEWS[0]].load("validation").matrix)
