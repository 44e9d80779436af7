"""Store batches, cumulative views and the rows held out in raw_data_db."""

import phases
from airflow.sdk import chain, dag


@dag(
    schedule=[phases.ASSIGNMENT],
    catchup=False,
    max_active_runs=1,
    default_args=phases.ARGUMENTS,
    params=phases.EXECUTION_PARAM,
    tags=phases.TAGS,
    doc_md=__doc__,
)
def dag_03b_store_batched_raw_data() -> None:
    views = phases.create_cumulative_views.override(outlets=[phases.BATCHES])()
    chain([phases.create_batch_tables(), phases.store_validation_test()], views)


dag_03b_store_batched_raw_data()
