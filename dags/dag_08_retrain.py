"""The whole pipeline again: every Sunday, and when monitoring finds that patients have changed."""

import phases
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag
from whole import whole_pipeline


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 3 * * 0", timezone="UTC"), assets=[phases.DRIFT]),
    catchup=False,
    max_active_runs=1,
    default_args=phases.ARGUMENTS,
    params=phases.RUN_PARAMS,
    tags=phases.TAGS,
    doc_md=__doc__,
)
def dag_08_retrain() -> None:
    whole_pipeline()


dag_08_retrain()
