"""Print what Airflow reads from the folder of DAGs, as JSON; run by ``test_dag_files``."""

import json
import sys
import time

before = set(sys.modules)
started = time.perf_counter()

from airflow.dag_processing.dagbag import DagBag  # noqa: E402


def _assets(timetable) -> list[str]:  # type: ignore[no-untyped-def]
    condition = getattr(timetable, "asset_condition", None)
    return sorted(asset.uri for asset in condition.objects) if condition else []


sys.path.append(sys.argv[1])  # as Airflow's own services do for a bundle of DAGs
bag = DagBag(dag_folder=sys.argv[1])
heavy = {"mlflow", "sklearn", "lightgbm", "pandas", "onnxruntime"} & set(sys.modules)
print(
    json.dumps(
        {
            "errors": {str(path): error for path, error in bag.import_errors.items()},
            "heavy": sorted(heavy),
            "own": sorted(name for name in sys.modules if name.partition(".")[0] == "readmission"),
            "dags": {
                dag_id: {
                    "tasks": {
                        task.task_id: {
                            "after": sorted(task.upstream_task_ids),
                            "group": task.task_group.group_id if task.task_group else None,
                            "mapped": task.is_mapped,
                            "outlets": [asset.uri for asset in task.outlets] if not task.is_mapped else [],
                            "retries": task.retries,
                            "timeout": task.execution_timeout.total_seconds() if task.execution_timeout else None,
                            "owner": task.owner,
                            "trigger_rule": str(task.trigger_rule),
                            "doc": bool(task.doc_md),
                        }
                        for task in dag.tasks
                    },
                    "params": sorted(dag.params),
                    "tags": sorted(dag.tags),
                    "doc": dag.doc_md,
                    "waits_for": _assets(dag.timetable),
                }
                for dag_id, dag in bag.dags.items()
            },
        }
    )
)
