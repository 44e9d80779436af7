"""The whole pipeline in one DAG: press play, and watch the phases."""

import phases
from airflow.sdk import dag
from whole import whole_pipeline


@dag(
    schedule=None,
    catchup=False,
    max_active_runs=1,
    default_args=phases.ARGUMENTS,
    params=phases.RUN_PARAMS,
    tags=phases.TAGS,
    doc_md=__doc__,
)
def dag_00b_master_cumulative_pipeline() -> None:
    whole_pipeline()


dag_00b_master_cumulative_pipeline()
