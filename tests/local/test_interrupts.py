"""Signals that interrupt, also where somebody swallows the exception."""

import contextlib
import os
import signal

import pytest

from readmission.local.interrupts import Interrupts

NUMBERS = [signal.SIGINT, signal.SIGTERM]


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_that_was_swallowed_is_raised_again(number: signal.Signals) -> None:
    with Interrupts() as interrupts:
        interrupts.check()
        with contextlib.suppress(BaseException):
            os.kill(os.getpid(), number)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                interrupts.check()


@pytest.mark.parametrize("number", NUMBERS)
def test_it_is_forgotten_at_the_next_start(number: signal.Signals) -> None:
    interrupts = Interrupts()
    with interrupts, contextlib.suppress(KeyboardInterrupt):
        os.kill(os.getpid(), number)
    with interrupts:
        interrupts.check()


@pytest.mark.parametrize("number", NUMBERS)
def test_nothing_interrupts_the_end_and_then_all_is_as_before(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Interrupts() as interrupts:
        interrupts.ignore()
        os.kill(os.getpid(), number)
        interrupts.check()
        assert signal.getsignal(number) == signal.SIG_IGN
    assert signal.getsignal(number) == before


def test_in_the_background_ctrl_c_is_meant_for_others() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            os.kill(os.getpid(), signal.SIGINT)
            interrupts.check()
            interrupts.ignore()
        assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
