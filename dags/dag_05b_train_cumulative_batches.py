"""Train four models on each cumulative set."""

import phases
from airflow.sdk import chain, dag


@dag(
    schedule=[phases.CLEAN],
    params=phases.EXECUTION_PARAM,
    doc_md=__doc__,
    **phases.COMMON,
)
def dag_05b_train_cumulative_batches() -> None:
    trained = phases.TASKS["train_cumulative"].expand(config=phases.TASKS["generate_training_configs"]())
    chain(trained, phases.TASKS["aggregate_results"].override(outlets=[phases.MODELS])())


dag_05b_train_cumulative_batches()
