"""Clean what was stored, and put the new set in the old one's place."""

import phases
from airflow.sdk import dag


@dag(
    schedule=[phases.BATCHES],
    params=phases.EXECUTION_PARAM,
    doc_md=__doc__,
    **phases.COMMON,
)
def dag_04_clean_data() -> None:
    phases.TASKS["clean_data"].override(outlets=[phases.CLEAN])()


dag_04_clean_data()
