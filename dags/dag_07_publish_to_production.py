"""Register the winner and, if the gate lets it pass, point production at it."""

import phases
from airflow.sdk import dag


@dag(
    schedule=[phases.SELECTION],
    params=phases.EXECUTION_PARAM,
    doc_md=__doc__,
    **phases.COMMON,
)
def dag_07_publish_to_production() -> None:
    phases.TASKS["publish_best_model_production"].override(outlets=[phases.PRODUCTION])()


dag_07_publish_to_production()
