"""The context that every step gets: settings, services, name of the execution, and a progress report."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from readmission.services import Services
from readmission.settings import Settings


@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a step.

    Attributes:
        what: one short line for the user.
        done, total: number of steps; a total of 0 is unknown.
    """

    what: str
    done: int = 0
    total: int = 0


Report = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """A report that does nothing."""


@dataclass(frozen=True, slots=True)
class Context:
    """Context of one execution.

    Attributes:
        settings: of the platform.
        services: their addresses.
        execution: its name.
        report: called with the progress.
        synthetic_fallback: whether synthetic records may replace a default source that cannot be reached.
    """

    settings: Settings
    services: Services
    execution: str
    report: Report = field(default=silent)
    synthetic_fallback: bool = False

    def quiet(self) -> "Context":
        """The same without a report, so that it can be sent to another process."""
        return replace(self, report=silent)

    @property
    def scratch(self) -> Path:
        """Folder of temporary arrays; each set that is being trained has its own folder in it."""
        return self.settings.home / "scratch"


def new_execution() -> str:
    """A name from the time of the start, in UTC: sortable, and valid in the name of a database schema."""
    return datetime.now(UTC).strftime("%Y%m%d_%H%M%S_%f")[:-3]
