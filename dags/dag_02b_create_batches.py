"""Split the rows and cut training into batches."""

import phases
from airflow.sdk import dag


@dag(
    schedule=[phases.DATA],
    catchup=False,
    max_active_runs=1,
    default_args=phases.ARGUMENTS,
    params=phases.EXECUTION_PARAM,
    tags=phases.TAGS,
    doc_md=__doc__,
)
def dag_02b_create_batches() -> None:
    phases.split_train_val_test.override(outlets=[phases.ASSIGNMENT])()


dag_02b_create_batches()
