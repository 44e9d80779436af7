"""Train four models on each cumulative set."""

import phases
from airflow.sdk import chain, dag


@dag(
    schedule=[phases.CLEAN],
    catchup=False,
    max_active_runs=1,
    default_args=phases.ARGUMENTS,
    params=phases.EXECUTION_PARAM,
    tags=phases.TAGS,
    doc_md=__doc__,
)
def dag_05b_train_cumulative_batches() -> None:
    trained = phases.train_cumulative.expand(config=phases.generate_training_configs())
    chain(trained, phases.aggregate_results.override(outlets=[phases.MODELS])())


dag_05b_train_cumulative_batches()
