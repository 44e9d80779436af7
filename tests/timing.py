"""Where the time of ``make test`` goes: seconds by folder and the slowest tests, beside the committed ``times.json``.

Machines swing by a third, so shares of the whole are compared, and a folder that grew is named and fails nothing.
``python tests/timing.py`` (``make test-times``) makes the last whole run the new table.
"""

import json
from collections import defaultdict
from collections.abc import Generator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
TABLE = TESTS / "times.json"
LAST = TESTS.parent / ".pytest_cache" / "readmission-times.json"

SLOWEST = 20
KEPT_SECONDS = 1.0
MAX_NAME = 300
"""Tests that take less are not in the table one by one."""

GROWTH, GROWTH_POINTS = 1.25, 0.02
"""A folder grew if its share of the whole is so many times what it was, and so many hundredths of the whole larger."""


@dataclass
class Times:
    """Seconds, setup and teardown included.

    Attributes:
        modules: by path below ``tests``.
        tests: by node id, those of a second or more.
    """

    modules: dict[str, float] = field(default_factory=dict)
    tests: dict[str, float] = field(default_factory=dict)

    def folders(self) -> dict[str, float]:
        """Seconds by folder, the longest first; modules that lie in none count as ``.``."""
        found: dict[str, float] = defaultdict(float)
        for module, seconds in self.modules.items():
            folder, _, name = module.partition("/")
            found[folder if name else "."] += seconds
        return dict(sorted(found.items(), key=lambda item: -item[1]))

    @property
    def total(self) -> float:
        return sum(self.modules.values())


def committed_times() -> Times:
    """What ``times.json`` says."""
    return Times(**json.loads(TABLE.read_text())) if TABLE.exists() else Times()


def measured(reports: Mapping[str, float]) -> Times:
    """Sum up seconds by node id."""
    modules: dict[str, float] = defaultdict(float)
    for test, seconds in reports.items():
        modules[test.partition("::")[0].removeprefix("tests/")] += seconds
    return Times(
        {name: round(seconds, 1) for name, seconds in sorted(modules.items())},
        {name: round(seconds, 1) for name, seconds in sorted(reports.items()) if _is_kept(name, seconds)},
    )


def _is_kept(name: str, seconds: float) -> bool:
    """Tests of a second or more; not those whose name is the whole text that they are about."""
    return seconds >= KEPT_SECONDS and len(name) <= MAX_NAME


def report(now: Times, before: Times) -> list[str]:
    """Lines of the table."""
    lines = [f"{'folder':<60} {'seconds':>8} {'share':>7} {'before':>7}"]
    known = before.folders()
    for folder, seconds in now.folders().items():
        lines.append(_line(folder, seconds, now.total, known.get(folder), before.total))
    lines += ["", f"{'slowest tests':<60} {'seconds':>8} {'share':>7} {'before':>7}"]
    for test in sorted(now.tests, key=lambda name: -now.tests[name])[:SLOWEST]:
        lines.append(
            _line(test.removeprefix("tests/"), now.tests[test], now.total, before.tests.get(test), before.total)
        )
    return [*lines, "", _grown(now, before)]


def _line(name: str, seconds: float, total: float, before: float | None, total_before: float) -> str:
    known = "-" if before is None else f"{before / total_before:.1%}"
    return f"{name if len(name) <= 60 else '...' + name[-57:]:<60} {seconds:>8.1f} {seconds / total:>7.1%} {known:>7}"


def _grown(now: Times, before: Times) -> str:
    known = before.folders()
    grown = []
    for folder, seconds in now.folders().items():
        share, earlier = seconds / now.total, known.get(folder, 0.0) / (before.total or 1.0)
        if share > earlier * GROWTH and share > earlier + GROWTH_POINTS:
            grown.append(f"{folder} ({share:.0%} of the whole, was {earlier:.0%})")
    return f"Folders that grew: {', '.join(grown) or 'none'}"


class Clock:
    """Adds up what the tests report."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.seconds[_plain(report.nodeid)] += report.duration

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # after everything that pytest itself writes but its closing line
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Generator[None, None, None]:
        yield
        now = measured(self.seconds)
        LAST.parent.mkdir(exist_ok=True)
        LAST.write_text(json.dumps(asdict(now), indent=1) + "\n")
        terminalreporter.section("times")
        for line in report(now, committed_times()):
            terminalreporter.write_line(line)


def _plain(nodeid: str) -> str:
    """Without the group that xdist adds."""
    return nodeid.rpartition("@")[0] if nodeid.rfind("@") > nodeid.rfind("]") else nodeid


def pytest_configure(config: pytest.Config) -> None:
    """Measure where all tests are run, and not in xdist's workers, whose reports reach the first process too."""
    everything = config.args_source is not pytest.Config.ArgsSource.ARGS and not config.option.markexpr
    if everything and not config.option.keyword and "workerinput" not in config.__dict__:
        config.pluginmanager.register(Clock(), "clock")


if __name__ == "__main__":
    if not LAST.exists():
        raise SystemExit("No times to keep: run `make test` first")
    TABLE.write_text(LAST.read_text())
