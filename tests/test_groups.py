"""Workers get whole groups of tests."""

import os

import pytest


def test_a_worker_knows_the_group_of_a_test(pytestconfig: pytest.Config) -> None:
    """The group is a part of the name that xdist sorts by; releases that do not fit each other lose it in silence."""
    if not getattr(pytestconfig.option, "loadgroup", False):
        pytest.skip("only workers of --dist loadgroup have groups")
    assert os.environ["PYTEST_CURRENT_TEST"].partition(" ")[0].endswith("@test_groups.py")
