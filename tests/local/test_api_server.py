import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from readmission.local.api_server import ApiServer, settings_environment
from readmission.local.process import child_environment, package_path
from readmission.local.supervise import Supervised, wait_until_ready
from readmission.settings import Settings, load_settings

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0", exclude_categories=["Cs"]), min_size=3)
SETTINGS = st.builds(
    Settings,
    home=st.just(Path("/somewhere/home")),
    model_name=TEXT,
    s3_bucket=TEXT,
    s3_secret_key=st.none() | TEXT,
    api_port=st.integers(1, 65_535),
    workers=st.integers(1, 64),
    model_poll_seconds=st.floats(0.1, 1e6),
    data=st.none() | TEXT,
)


@given(SETTINGS)
def test_another_process_reads_equal_settings(settings: Settings) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("READMISSION_")}
    with patch.dict(os.environ, {**kept, **settings_environment(settings)}, clear=True):
        assert load_settings() == settings


def test_a_relative_home_becomes_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert settings_environment(Settings(home=Path("state")))["READMISSION_HOME"] == str(tmp_path / "state")


def test_settings_of_the_owners_environment_do_not_leak_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("READMISSION_API_PORT", "1234")
    environment = ApiServer(Settings(home=tmp_path, api_port=4321)).program().environment
    assert environment["READMISSION_API_PORT"] == "4321"


def test_the_child_finds_package_and_settings(tmp_path: Path) -> None:
    script = "from readmission.settings import load_settings; print(load_settings().api_port)"
    program = ApiServer(Settings(home=tmp_path, api_port=4321)).program()
    result = subprocess.run(
        [sys.executable, "-P", "-c", script], env=program.environment, capture_output=True, text=True, check=True
    )
    assert result.stdout == "4321\n"


def test_the_real_application_answers_without_any_other_service(
    tmp_path: Path, new_settings: Callable[..., Settings]
) -> None:
    environment = child_environment(**package_path())
    check = [sys.executable, "-c", "import readmission.serving.app"]
    assert subprocess.run(check, env=environment, check=False).returncode == 0
    settings = new_settings(tmp_path)
    unit = Supervised(ApiServer(settings), tmp_path / "logs", settings.start_timeout, lambda _: None)
    unit.spawn()
    try:
        wait_until_ready([unit])
    finally:
        assert unit.child is not None
        unit.child.stop(20)
