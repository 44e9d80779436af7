"""Results of the steps: small frozen models, stored in platform_db and printed by ``--json``."""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

RequestedType = Literal["logistic_regression", "decision_tree", "random_forest", "gradient_boosting"]
Challenger = Literal["tuned_boosting"]
MODEL_TYPES: tuple[RequestedType, ...] = get_args(RequestedType)
"""The four types that are trained by default."""

CHALLENGERS: tuple[Challenger, ...] = get_args(Challenger)
"""Types that are trained in addition on request."""

SEED = 42
"""Of splits and models, where the user gives none."""


Objective = Literal["weighted_f1", "macro_f1", "lt30_recall"]
"""What the decision rule maximises; ``lt30_recall`` at a fixed alert rate."""


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Result):
    """A value with its 95 % interval."""

    value: float
    low: float
    high: float


class Aim(_Result):
    """What the decision rule maximises. The descriptions are the help of the command line."""

    objective: Objective = Field(
        "weighted_f1",
        description="What the choice of the class maximises: weighted_f1 (default), macro_f1 or lt30_recall.",
    )
    alert_rate: float = Field(
        0.1, gt=0, lt=1, description="With --objective lt30_recall: share of stays to predict as <30. Default: 0.1."
    )


class Options(_Result):
    """Options of a run. The descriptions are the help of the command line."""

    data: str | None = Field(
        None,
        description="A path, URL, gdrive://ID, s3://bucket/key or synthetic:ROWS. Default: READMISSION_DATA, else UCI.",
    )
    batch_size: PositiveInt = Field(15_000, description="Rows per training batch. Default: 15000.")
    batches: PositiveInt | None = Field(None, description="Number of training batches, instead of their size.")
    split: Literal["patient", "encounter"] = Field(
        "patient",
        description="What stays in one split: all encounters of a patient (default), or each encounter by itself.",
    )
    seed: int | None = Field(
        None,
        ge=0,
        description="Draw new splits with this seed, for an experiment. Default: patients keep theirs (seed 42).",
    )
    models: tuple[RequestedType, ...] = Field((), description="Model types, separated by commas. Default: all four.")
    challengers: tuple[Challenger, ...] = Field((), description="Types to train in addition: tuned_boosting.")
    aim: Aim = Aim()
    exclude_expired: bool = Field(False, description="Leave out stays that ended in death or hospice.")
    no_report: bool = Field(False, description="Draw no charts and write no model card after publishing.")

    @property
    def model_types(self) -> tuple[str, ...]:
        """Every type to train, each once."""
        return tuple(dict.fromkeys((*(self.models or MODEL_TYPES), *self.challengers)))


class SplitResult(_Result):
    """Sizes of the splits, and how they were drawn."""

    sizes: dict[str, int]
    batches: int
    grouping: Literal["patient", "encounter"]
    seed: int
    remembered: int = Field(description="patients (or encounters) whose split was already assigned")
    assignment: str = Field(
        description="name under which the split assignments are stored: patient, or patient:EXECUTION"
    )


class StoreResult(_Result):
    """Rows by table, and the cumulative views, that a step stored."""

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
    """The cumulative sets, and the parent run of the execution in MLflow."""

    experiment_id: str
    parent_run_id: str
    configs: tuple[TrainingConfig, ...]
    model_types: tuple[str, ...]
    aim: Aim
    tuned: dict[str, float | int] = Field({}, description="parameters of the challenger; empty: the defaults")


class TrainedModel(_Result):
    """One trained model. ``metrics`` carries the prefixes ``train_`` and ``val_``."""

    run_id: str
    model_id: str
    model_type: str
    cumulative_idx: int
    rows: int
    n_features: int
    trained_at: str = Field("", description="end of the fit, UTC, ISO 8601")
    fit_seconds: float
    metrics: dict[str, float]


class Models(_Result):
    """The models of one cumulative set."""

    models: tuple[TrainedModel, ...]


class Ranking(_Result):
    """The models of every set that is complete, best first, and the views of the sets that are not."""

    models: tuple[TrainedModel, ...]
    missing: tuple[str, ...] = ()


class Slice(_Result):
    """One group of patients: race, gender or age group.

    Attributes:
        attribute, level: of the group.
        rows, lt30_rows: encounters, and those followed by another within 30 days.
        f1_score: weighted.
        lt30_recall: share of the latter with the prediction ``<30``; None if there are none.
        selection_rate: share of encounters with the prediction ``<30``.
        calibration_gap: mean probability of ``<30`` minus its share.
    """

    attribute: str
    level: str
    rows: int
    lt30_rows: int
    f1_score: Interval
    lt30_recall: Interval | None
    selection_rate: Interval
    calibration_gap: Interval


class Expired(_Result):
    """Effect on F1 of encounters that ended in death or hospice, which are nearly all ``NO``.

    Attributes:
        rows: their number in the test split.
        share: of the rows of the test split.
        f1_without: weighted F1 of the other rows.
    """

    rows: int
    share: float
    f1_without: float


class Selection(_Result):
    """The ranking (best first), and the evaluation of the winner.

    Attributes:
        metrics: on all of validation and on test, prefixed ``val_`` and ``test_``.
        intervals: of some of them.
        slices: on validation.
        expired: on test.
        rows: number of rows by split.

    Fields with a default may be absent: ``make run`` shows results that an earlier release stored.
    """

    ranking: tuple[TrainedModel, ...]
    best: TrainedModel
    metrics: dict[str, float]
    intervals: dict[str, Interval] = {}
    slices: tuple[Slice, ...] = ()
    expired: Expired | None = None
    rows: dict[str, int] = {}


class Publication(_Result):
    """Registration of the winner, and whether it was published.

    Attributes:
        version: its version in the registry, published or not.
        previous: version that was in production before.
        decision: whether it was published to production.
        reasons: for publishing it, or every reason against it.
        f1_difference: to the previous version on the same validation rows; None if there was no comparison.
        model: the winner; None in results that an earlier release stored.
    """

    version: str
    previous: str | None
    decision: Literal["published", "refused"]
    reasons: tuple[str, ...]
    parity_max_difference: float
    f1_difference: Interval | None = None
    model: TrainedModel | None = None


class Move(_Result):
    """A change of the production version by hand."""

    from_version: str | None
    to_version: str
    decision: str


class Best(_Result):
    """The winner in the summary."""

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
    decision: Literal["published", "refused"]
    reasons: tuple[str, ...]
    stages: dict[str, float]
    report_seconds: float
    seconds: float
