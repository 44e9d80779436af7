"""All phases in their order, for the master pipeline and for the one that trains again."""

from typing import Any

import phases
from airflow.sdk import chain, task_group


def whole_pipeline() -> None:
    """Add all phases to the DAG that is being made; of all assets it makes production alone."""

    @task_group(prefix_group_id=False)
    def phase_1_data_acquisition() -> None:
        chain(phases.TASKS["download_diabetes_dataset"](), phases.TASKS["split_train_val_test"]())

    @task_group(prefix_group_id=False)
    def phase_2_batch_storage() -> None:
        stored = [phases.TASKS["create_batch_tables"](), phases.TASKS["store_validation_test"]()]
        chain(stored, phases.TASKS["create_cumulative_views"](), phases.TASKS["clean_data"]())

    @task_group(prefix_group_id=False)
    def phase_3_dynamic_configuration() -> Any:
        return phases.TASKS["generate_training_configs"]()

    @task_group(prefix_group_id=False)
    def phase_4_parallel_training(configs: Any) -> None:
        phases.TASKS["train_cumulative"].expand(config=configs)

    @task_group(prefix_group_id=False)
    def phase_5_model_selection() -> None:
        chain(
            phases.TASKS["aggregate_results"](),
            phases.TASKS["select_best_model"](),
            phases.TASKS["evaluate_on_full_validation"](),
        )

    @task_group(prefix_group_id=False)
    def phase_6_production_deployment() -> None:
        phases.TASKS["publish_best_model_production"].override(outlets=[phases.PRODUCTION])()

    configs = phase_3_dynamic_configuration()
    stored = phase_2_batch_storage()
    chain(phase_1_data_acquisition(), stored, configs)
    chain(phase_4_parallel_training(configs), phase_5_model_selection(), phase_6_production_deployment())
