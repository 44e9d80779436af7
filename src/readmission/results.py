"""What each stage answers: small frozen models that travel through XCom, ``--json`` and the logs alike."""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

ModelType = Literal["logistic_regression", "decision_tree", "random_forest", "gradient_boosting"]
MODEL_TYPES: tuple[ModelType, ...] = get_args(ModelType)
"""The four that are always trained."""


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Options(_Result):
    """What the user chose for a run.

    Attributes:
        data: the data source; None: the setting, else the UCI archive.
        batch_size: rows per training batch; ``batches`` wins over it.
        batches: number of training batches.
        split: what stays in one part: a patient with all encounters, or an encounter.
        seed: draws a fresh assignment for an experiment; None: known patients keep their part.
        models: types to train; empty: the four.
    """

    data: str | None = None
    batch_size: PositiveInt = 15_000
    batches: PositiveInt | None = None
    split: Literal["patient", "encounter"] = "patient"
    seed: int | None = Field(None, ge=0)
    models: tuple[ModelType, ...] = ()


class SplitResult(_Result):
    """Sizes of the parts, and how they were drawn."""

    sizes: dict[str, int]
    batches: int
    grouping: Literal["patient", "encounter"]
    seed: int
    remembered: int = Field(description="groups that kept the part they had")


class StoreResult(_Result):
    """Rows by table, and the cumulative views."""

    rows: dict[str, int]
    views: tuple[str, ...] = ()


class CleanResult(_Result):
    """Rows by clean table."""

    rows: dict[str, int]


class TrainingConfig(_Result):
    """One cumulative set."""

    cumulative_idx: int = Field(ge=0)
    view: str
    rows: int


class Plan(_Result):
    """The cumulative sets, and the MLflow run that holds the execution."""

    experiment_id: str
    parent_run_id: str
    configs: tuple[TrainingConfig, ...]


class TrainedModel(_Result):
    """One trained model. ``metrics`` carries the prefixes ``train_`` and ``val_``."""

    run_id: str
    model_id: str
    model_type: str
    cumulative_idx: int
    rows: int
    n_features: int
    trained_at: str = Field(description="end of the fit, UTC, ISO 8601")
    fit_seconds: float
    metrics: dict[str, float]


class Models(_Result):
    """What the stage ``train`` answers: every model of the execution."""

    models: tuple[TrainedModel, ...]


class Selection(_Result):
    """The ranking (best first), the winner, and its metrics on all of validation and on test."""

    ranking: tuple[TrainedModel, ...]
    best: TrainedModel
    metrics: dict[str, float]


class Publication(_Result):
    """What became of the winner."""

    version: str
    previous: str | None
    decision: Literal["published"]
    reasons: tuple[str, ...]
    parity_max_difference: float


class Best(_Result):
    """The winner as the summary shows it."""

    model_type: str
    cumulative_idx: int
    run_id: str
    val_f1_score: float
    val_roc_auc: float
    test_f1_score: float


class Summary(_Result):
    """The last line of ``--json``."""

    execution: str
    data_source: str
    data_fallback: str
    batches: int
    models: int
    best: Best
    registered_version: str
    stages: dict[str, float]
    report_seconds: float
    seconds: float
