"""The whole pipeline in one DAG: press play, and watch the phases."""

import phases
from airflow.sdk import dag
from whole import whole_pipeline


@dag(
    schedule=None,
    params=phases.RUN_PARAMS,
    doc_md=__doc__,
    **phases.COMMON,
)
def dag_00b_master_cumulative_pipeline() -> None:
    whole_pipeline()


dag_00b_master_cumulative_pipeline()
