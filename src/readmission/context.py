"""What every stage is handed: settings, services, the execution's name, and where progress goes."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from readmission.services import Services
from readmission.settings import Settings


@dataclass(frozen=True, slots=True)
class Progress:
    """A step forward.

    Attributes:
        what: one short line for people.
        done, total: how far; a total of 0 is unknown.
    """

    what: str
    done: int = 0
    total: int = 0


Report = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Report to nobody."""


@dataclass(frozen=True, slots=True)
class Context:
    """The surroundings of one execution."""

    settings: Settings
    services: Services
    execution: str
    report: Report = field(default=silent)

    def quiet(self) -> "Context":
        """The same without a report: what another process can be sent."""
        return replace(self, report=silent)

    @property
    def scratch(self) -> Path:
        """Folder for arrays under way; the next run removes what a killed one left."""
        return self.settings.home / "scratch" / self.execution


def new_execution() -> str:
    """Name an execution by its start, in UTC: sortable, and allowed in the name of a database schema."""
    return datetime.now(UTC).strftime("%Y%m%d_%H%M%S_%f")[:-3]
