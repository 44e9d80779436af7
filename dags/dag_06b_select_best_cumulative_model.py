"""Choose the best model of the execution, and measure it."""

import phases
from airflow.sdk import chain, dag


@dag(
    schedule=[phases.MODELS],
    params=phases.EXECUTION_PARAM,
    doc_md=__doc__,
    **phases.COMMON,
)
def dag_06b_select_best_cumulative_model() -> None:
    evaluated = phases.TASKS["evaluate_on_full_validation"].override(outlets=[phases.SELECTION])()
    chain(phases.TASKS["aggregate_results"](), phases.TASKS["select_best_model"](), evaluated)


dag_06b_select_best_cumulative_model()
