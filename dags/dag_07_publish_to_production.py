"""Register the winner and, if the gate lets it pass, point production at it."""

import phases
from airflow.sdk import dag


@dag(
    schedule=[phases.SELECTION],
    catchup=False,
    max_active_runs=1,
    default_args=phases.ARGUMENTS,
    params=phases.EXECUTION_PARAM,
    tags=phases.TAGS,
    doc_md=__doc__,
)
def dag_07_publish_to_production() -> None:
    phases.publish_best_model_production.override(outlets=[phases.PRODUCTION])()


dag_07_publish_to_production()
