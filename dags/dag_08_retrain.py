"""The whole pipeline again: every Sunday, and when monitoring finds that patients have changed."""

import phases
from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag
from whole import whole_pipeline


@dag(
    schedule=AssetOrTimeSchedule(timetable=CronTriggerTimetable("0 3 * * 0", timezone="UTC"), assets=[phases.DRIFT]),
    params=phases.RUN_PARAMS,
    doc_md=__doc__,
    **phases.COMMON,
)
def dag_08_retrain() -> None:
    whole_pipeline()


dag_08_retrain()
