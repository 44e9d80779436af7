"""Run a DAG in this process by ``dag.test()``, and print how its tasks ended, as JSON; run by ``test_dag_runs``."""

import json
import sys
from datetime import timedelta

from airflow.dag_processing.dagbag import DagBag

folder, dag_id, params = sys.argv[1:]
sys.path.append(folder)  # as Airflow's own services do for a bundle of DAGs
bag = DagBag(dag_folder=folder)
for task in bag.dags[dag_id].tasks:  # a task is tried again at once
    if task.is_mapped:
        task.partial_kwargs["retry_delay"] = timedelta(0)
    else:
        task.retry_delay = timedelta(0)
run = bag.dags[dag_id].test(run_conf=json.loads(params))
instances = run.get_task_instances()
print(
    json.dumps(
        {
            "run_id": run.run_id,
            "state": str(run.state),
            "tasks": [
                {
                    "task_id": task.task_id,
                    "map_index": task.map_index,
                    "state": str(task.state),
                    "name": task.rendered_map_index,
                    "tries": task.try_number,
                }
                for task in instances
            ],
            "answers": {
                task.task_id: task.xcom_pull(task_ids=task.task_id) for task in instances if task.map_index < 0
            },
        }
    )
)
