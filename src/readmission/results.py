"""Results of the steps: small frozen models, stored in platform_db and printed by ``--json``."""

from typing import Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

RequestedType = Literal["logistic_regression", "decision_tree", "random_forest", "gradient_boosting"]
Challenger = Literal["tuned_boosting"]
MODEL_TYPES: tuple[RequestedType, ...] = get_args(RequestedType)
"""The four that are always trained."""

CHALLENGERS: tuple[Challenger, ...] = get_args(Challenger)
"""Types that are trained beside them when asked for."""


Objective = Literal["weighted_f1", "macro_f1", "lt30_recall"]
"""What the decision rule maximises; ``lt30_recall`` at a given alert rate."""


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Interval(_Result):
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


class Aim(_Result):
    """What the decision rule is for. The descriptions are the help of the command line."""

    objective: Objective = Field(
        "weighted_f1", description="What the class is chosen for: weighted_f1 (default), macro_f1 or lt30_recall."
    )
    alert_rate: float = Field(
        0.1, gt=0, lt=1, description="With --objective lt30_recall: share of stays to be answered <30. Default: 0.1."
    )


class Options(_Result):
    """What the user chose for a run. The descriptions are the help of the command line."""

    data: str | None = Field(
        None,
        description="A path, URL, gdrive://ID, s3://bucket/key or synthetic:ROWS. Default: READMISSION_DATA, else UCI.",
    )
    batch_size: PositiveInt = Field(15_000, description="Rows per training batch. Default: 15000.")
    batches: PositiveInt | None = Field(None, description="Number of training batches, instead of their size.")
    split: Literal["patient", "encounter"] = Field(
        "patient", description="What stays in one part: a patient with all encounters (default), or an encounter."
    )
    seed: int | None = Field(
        None, ge=0, description="Draw a fresh split, for an experiment. Default: patients keep theirs (42)."
    )
    models: tuple[RequestedType, ...] = Field((), description="Model types, separated by commas. Default: all four.")
    challengers: tuple[Challenger, ...] = Field((), description="Types to train beside them: tuned_boosting.")
    aim: Aim = Aim()
    exclude_expired: bool = Field(False, description="Leave out stays that ended in death or hospice.")
    no_report: bool = Field(False, description="Draw no charts and write no model card after publishing.")

    @property
    def model_types(self) -> tuple[str, ...]:
        """Every type to train, each once."""
        return tuple(dict.fromkeys((*(self.models or MODEL_TYPES), *self.challengers)))


class SplitResult(_Result):
    """Sizes of the parts, and how they were drawn."""

    sizes: dict[str, int]
    batches: int
    grouping: Literal["patient", "encounter"]
    seed: int
    remembered: int = Field(description="patients (or encounters) that kept the part of an earlier split")
    assignment: str = Field(description="name under which their parts are stored: patient, or patient:EXECUTION")


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
    """The cumulative sets, and the MLflow run that holds the execution."""

    experiment_id: str
    parent_run_id: str
    configs: tuple[TrainingConfig, ...]
    model_types: tuple[str, ...]
    aim: Aim
    tuned: dict[str, float | int] = Field({}, description="parameters of the challenger; empty: the project's own")


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
        attribute, level: which group.
        rows, lt30_rows: encounters, and those that were followed by another within 30 days.
        f1_score: weighted.
        lt30_recall: share of the latter that were answered ``<30``; None where there are none.
        selection_rate: share of encounters answered ``<30``.
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
    """How much encounters that ended in death or hospice add to a score: they are easy, for nobody returns from death.

    Attributes:
        rows: how many they are in the test part.
        share: of the part.
        f1_without: weighted F1 of the other rows.
    """

    rows: int
    share: float
    f1_without: float


class Selection(_Result):
    """The ranking (best first) and the winner, measured.

    Attributes:
        metrics: on all of validation and on test, prefixed ``val_`` and ``test_``.
        intervals: of some of them.
        slices: on validation.
        expired: on test.
        rows: of both parts.

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
    """How the winner was registered, and whether it was published.

    Attributes:
        version: under which it is registered, published or not.
        previous: version that was in production before.
        decision: whether it is in production now.
        reasons: for it, or each one against it.
        f1_difference: to the previous version on the same validation rows; None where there is none to compare with.
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
    """Production moved by hand."""

    from_version: str | None
    to_version: str
    decision: str


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
    decision: Literal["published", "refused"]
    reasons: tuple[str, ...]
    stages: dict[str, float]
    report_seconds: float
    seconds: float
