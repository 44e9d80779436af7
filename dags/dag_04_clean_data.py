"""Clean what was stored, and put the new set in the old one's place."""

import phases
from airflow.sdk import dag


@dag(
    schedule=[phases.BATCHES],
    catchup=False,
    max_active_runs=1,
    default_args=phases.ARGUMENTS,
    params=phases.EXECUTION_PARAM,
    tags=phases.TAGS,
    doc_md=__doc__,
)
def dag_04_clean_data() -> None:
    phases.clean_data.override(outlets=[phases.CLEAN])()


dag_04_clean_data()
