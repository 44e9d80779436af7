"""Store batches, cumulative views and the rows held out in raw_data_db."""

import phases
from airflow.sdk import chain, dag


@dag(
    schedule=[phases.ASSIGNMENT],
    params=phases.EXECUTION_PARAM,
    doc_md=__doc__,
    **phases.COMMON,
)
def dag_03b_store_batched_raw_data() -> None:
    views = phases.TASKS["create_cumulative_views"].override(outlets=[phases.BATCHES])()
    chain([phases.TASKS["create_batch_tables"](), phases.TASKS["store_validation_test"]()], views)


dag_03b_store_batched_raw_data()
