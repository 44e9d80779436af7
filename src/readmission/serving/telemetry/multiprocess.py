"""Where several processes of the API count together: prometheus_client's multiprocess mode.

The library looks at the variable when it is imported, so this module must not import it.
"""

import os
import shutil
from pathlib import Path

VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def share_metrics(folder: Path) -> None:
    """Have the processes that this one starts count in files of a folder; files of an earlier run are removed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    os.environ[VARIABLE] = str(folder)


def shared_folder() -> Path | None:
    """The folder in which this process counts together with others; None where it counts alone."""
    folder = os.environ.get(VARIABLE)
    return None if folder is None else Path(folder)
