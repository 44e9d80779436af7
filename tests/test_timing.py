"""The table of times: sums by folder, shares, and which folder grew."""

from timing import Times, measured, report

BEFORE = Times({"e2e/test_a.py": 50.0, "dags/test_b.py": 50.0}, {"tests/dags/test_b.py::test_x": 40.0})


def test_seconds_are_summed_by_module_and_folder_and_short_tests_are_not_named() -> None:
    found = measured(
        {"tests/e2e/test_a.py::test_x[1]": 2.0, "tests/e2e/test_a.py::test_y": 0.4, "tests/test_b.py::t": 1.0}
    )
    assert found == Times(
        {"e2e/test_a.py": 2.4, "test_b.py": 1.0}, {"tests/e2e/test_a.py::test_x[1]": 2.0, "tests/test_b.py::t": 1.0}
    )
    assert list(found.folders().items()) == [("e2e", 2.4), (".", 1.0)]


def test_shares_stand_beside_those_of_the_table() -> None:
    now = Times({"e2e/test_a.py": 30.0, "dags/test_b.py": 70.0}, {"tests/dags/test_b.py::test_x": 60.0})
    lines = [line.split() for line in report(now, BEFORE)]
    assert ["dags", "70.0", "70.0%", "50.0%"] in lines
    assert ["e2e", "30.0", "30.0%", "50.0%"] in lines
    assert ["dags/test_b.py::test_x", "60.0", "60.0%", "40.0%"] in lines
    assert report(now, BEFORE)[-1] == "Folders that grew: dags (70% of the whole, was 50%)"


def test_a_slower_machine_is_no_growth() -> None:
    slower = Times({name: 3 * seconds for name, seconds in BEFORE.modules.items()})
    assert report(slower, BEFORE)[-1] == "Folders that grew: none"


def test_a_new_folder_has_no_share_before() -> None:
    now = Times({**BEFORE.modules, "web/test_c.py": 25.0})
    assert ["web", "25.0", "20.0%", "-"] in [line.split() for line in report(now, BEFORE)]
    assert report(now, BEFORE)[-1] == "Folders that grew: web (20% of the whole, was 0%)"
