"""Get, verify and keep the data file; begins an execution."""

import phases
from airflow.sdk import dag


@dag(
    schedule=None,
    params=phases.RUN_PARAMS,
    doc_md=__doc__,
    **phases.COMMON,
)
def dag_01_download_data() -> None:
    phases.TASKS["download_diabetes_dataset"].override(outlets=[phases.DATA])()


dag_01_download_data()
