"""Schemathesis asks the API what its own OpenAPI description allows, and what it does not, also in sequences."""

import os
import re
import subprocess
import sys
from pathlib import Path

from running_api import NOWHERE, put_in_cache
from serving_bundle import MadeBundle

from api_process import api_process
from readmission.services import Services

EXAMPLES = os.environ.get("FUZZ_EXAMPLES", "60")
"""Most cases per endpoint and phase; `make fuzz` asks for many more."""

HOOKS = Path(__file__).parents[2] / "generated_bodies.py"
SCHEMATHESIS = Path(sys.executable).with_name("st")


def test_schemathesis_finds_nothing(tmp_path: Path, tree_bundle: MadeBundle, services: Services) -> None:
    put_in_cache(tmp_path, tree_bundle.folder, "3")
    database = services.platform_url.get_secret_value()
    with api_process(tmp_path, mlflow_url=NOWHERE, platform_database_url=database) as api:
        command = [str(SCHEMATHESIS), "run", f"{api.url}/openapi.json", "--max-examples", EXAMPLES, "--seed", "1"]
        variables = {**os.environ, "SCHEMATHESIS_HOOKS": str(HOOKS), "PYTHONPATH": os.pathsep.join(sys.path)}
        done = subprocess.run([*command, "--no-color"], env=variables, capture_output=True, text=True, cwd=tmp_path)
        assert api.process.poll() is None
        log = api.log.read_text()
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"([\d,]+) generated", done.stdout)
    assert found is not None
    print(found[0])  # noqa: T201 - `make fuzz` shows it
    assert int(found[1].replace(",", "")) > 10 * int(EXAMPLES)
    assert "Traceback" not in log
