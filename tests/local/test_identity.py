import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from readmission.errors import ServiceDownError
from readmission.local import identity
from readmission.local.identity import postgres_identity, take_over
from readmission.local.postgres import binary

AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root has to give up root")


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that every user can enter, unlike those of ``tmp_path``."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o711)
    yield folder
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="for ordinary users")
def test_an_ordinary_user_just_runs_it(tmp_path: Path) -> None:
    assert postgres_identity(binary("postgres"), tmp_path) == ()
    take_over(tmp_path, ())


@AS_ROOT
def test_root_prefers_the_user_nobody(open_folder: Path) -> None:
    if not os.access("/bin/true", os.X_OK):
        pytest.skip("no program that everybody may run")
    assert postgres_identity(Path("/bin/true"), open_folder) == ("--user", "nobody")


@AS_ROOT
def test_root_uses_a_namespace_below_a_closed_folder(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    if not identity._works(("--map-user",), Path("/bin/true"), tmp_path):
        pytest.skip("user namespaces are not allowed here")
    assert postgres_identity(Path("/bin/true"), tmp_path) == ("--map-user",)


@AS_ROOT
def test_neither_way_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(ServiceDownError) as error:
        postgres_identity(Path("/bin/false"), tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "ordinary user" in str(error.value)
    assert "\n" not in str(error.value)


@AS_ROOT
def test_files_follow_the_identity(tmp_path: Path) -> None:
    inner = tmp_path / "data" / "base"
    inner.mkdir(parents=True)
    (inner / "file").touch()
    take_over(tmp_path / "data", ("--user", "nobody"))
    assert {path.stat().st_uid for path in (tmp_path / "data", inner, inner / "file")} == {65534}
    take_over(tmp_path / "data", ("--map-user",))
    assert {path.stat().st_uid for path in (tmp_path / "data", inner, inner / "file")} == {0}
