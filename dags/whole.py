"""All phases in their order: the master pipeline, and what trains anew."""

from typing import Any

import phases
from airflow.sdk import chain, task_group


def whole_pipeline() -> None:
    """Lay all phases out in the DAG that is being made; of its assets only production is told of."""

    @task_group(prefix_group_id=False)
    def phase_1_data_acquisition() -> None:
        chain(phases.download_diabetes_dataset(), phases.split_train_val_test())

    @task_group(prefix_group_id=False)
    def phase_2_batch_storage() -> None:
        stored = [phases.create_batch_tables(), phases.store_validation_test()]
        chain(stored, phases.create_cumulative_views(), phases.clean_data())

    @task_group(prefix_group_id=False)
    def phase_3_dynamic_configuration() -> Any:
        return phases.generate_training_configs()

    @task_group(prefix_group_id=False)
    def phase_4_parallel_training(configs: Any) -> None:
        phases.train_cumulative.expand(config=configs)

    @task_group(prefix_group_id=False)
    def phase_5_model_selection() -> None:
        chain(phases.aggregate_results(), phases.select_best_model(), phases.evaluate_on_full_validation())

    @task_group(prefix_group_id=False)
    def phase_6_production_deployment() -> None:
        phases.publish_best_model_production.override(outlets=[phases.PRODUCTION])()

    configs = phase_3_dynamic_configuration()
    stored = phase_2_batch_storage()
    chain(phase_1_data_acquisition(), stored, configs)
    chain(phase_4_parallel_training(configs), phase_5_model_selection(), phase_6_production_deployment())
