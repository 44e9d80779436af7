"""What every step receives: settings, services, the name of the execution, and where progress is reported."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from readmission.services import Services
from readmission.settings import Settings


@dataclass(frozen=True, slots=True)
class Progress:
    """How far something is.

    Attributes:
        what: one short line for people.
        done, total: how far; a total of 0 is unknown.
    """

    what: str
    done: int = 0
    total: int = 0


Report = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True)
class Context:
    """What every step of one execution needs.

    Attributes:
        settings: of the platform.
        services: where they are.
        execution: its name.
        report: receives progress.
        synthetic_fallback: whether synthetic records may take the place of a default source that cannot be reached.
    """

    settings: Settings
    services: Services
    execution: str
    report: Report = field(default=silent)
    synthetic_fallback: bool = False

    def quiet(self) -> "Context":
        """The same without a report, which cannot be sent to another process."""
        return replace(self, report=silent)

    @property
    def scratch(self) -> Path:
        """Folder for the arrays of sets in training, each set's in a folder of its own below it."""
        return self.settings.home / "scratch"


def new_execution() -> str:
    """Name an execution by its start, in UTC: sortable, and allowed in the name of a database schema."""
    return datetime.now(UTC).strftime("%Y%m%d_%H%M%S_%f")[:-3]
