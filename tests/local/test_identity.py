import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from readmission.errors import ServiceDownError
from readmission.local import identity
from readmission.local.credentials import ensure_credentials, prepare_home
from readmission.local.identity import postgres_identity, take_over
from readmission.local.postgres import Postgres, binary
from readmission.local.supervise import Supervised, wait_until_ready
from readmission.services import credentials_path
from readmission.settings import Settings

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


@pytest.fixture
def no_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container: the kernel forbids them."""
    monkeypatch.setattr(identity, "_IN_NAMESPACE", ("--user", "no-such-user-here"))


@AS_ROOT
def test_without_namespaces_a_fresh_folder_is_opened_to_pass_through(open_folder: Path, no_namespaces: None) -> None:
    settings = Settings(home=open_folder / "home")
    credentials = ensure_credentials(settings)
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o700
    assert postgres_identity(Path("/bin/true"), settings.home) == ("--user", "nobody")
    assert stat.S_IMODE(settings.home.stat().st_mode) == 0o711
    assert stat.S_IMODE(credentials_path(settings).stat().st_mode) == 0o600
    assert ensure_credentials(settings) == credentials
    assert postgres_identity(Path("/bin/true"), settings.home) == ("--user", "nobody"), "also at the next start"


@AS_ROOT
def test_a_folder_is_not_opened_in_vain(open_folder: Path, no_namespaces: None) -> None:
    open_folder.chmod(0o700)
    home = prepare_home(Settings(home=open_folder / "home"))
    with pytest.raises(ServiceDownError, match="chmod a"):
        postgres_identity(Path("/bin/true"), home)
    assert stat.S_IMODE(home.stat().st_mode) == 0o700


@AS_ROOT
def test_without_namespaces_a_server_runs_as_nobody(
    open_folder: Path, no_namespaces: None, new_settings: Callable[..., Settings]
) -> None:
    settings = new_settings(open_folder / "home")
    if not identity._works(("--user", "nobody"), binary("postgres"), open_folder):
        pytest.skip("the binaries are not readable to an ordinary user")
    service = Postgres(settings, ensure_credentials(settings))
    unit = Supervised(service, settings.home / "logs", settings.start_timeout, lambda _: None)
    unit.spawn()
    try:
        wait_until_ready([unit])
        assert unit.child is not None
        assert psutil.Process(unit.child.pid).username() == "nobody"
    finally:
        assert unit.child is not None
        unit.child.stop(20)


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
