"""Split the rows and cut training into batches."""

import phases
from airflow.sdk import dag


@dag(
    schedule=[phases.DATA],
    params=phases.EXECUTION_PARAM,
    doc_md=__doc__,
    **phases.COMMON,
)
def dag_02b_create_batches() -> None:
    phases.TASKS["split_train_val_test"].override(outlets=[phases.ASSIGNMENT])()


dag_02b_create_batches()
