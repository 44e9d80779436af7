"""After each publish: the API must serve the new version within minutes, or this run fails."""

from typing import Any

import phases
from airflow.sdk import dag, task


@task(retries=0)
def wait_for_api() -> dict[str, Any]:
    """Ask the API for its version until it is the one in production."""
    from readmission.orchestration.follow import follow

    return follow()


@dag(
    schedule=[phases.PRODUCTION],
    doc_md=__doc__,
    **phases.COMMON,
)
def dag_09_follow_production() -> None:
    wait_for_api()


dag_09_follow_production()
