"""Get, verify and keep the data file; begins an execution."""

import phases
from airflow.sdk import dag


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=phases.ARGUMENTS,
    params=phases.RUN_PARAMS,
    tags=phases.TAGS,
    doc_md=__doc__,
)
def dag_01_download_data() -> None:
    phases.download_diabetes_dataset.override(outlets=[phases.DATA])()


dag_01_download_data()
