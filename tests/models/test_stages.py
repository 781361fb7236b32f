import threading
import time

import pytest

from recon.models.stages import in_background, schedule


def test_stages_share_the_run_by_their_seconds():
    assert schedule({"a": 1, "b": 3}) == {"a": (0.0, 0.25), "b": (0.25, 1.0)}
    assert schedule({"a": 1, "b": 3}, 0.2) == {"a": (0.2, pytest.approx(0.4)), "b": (pytest.approx(0.4), 1.0)}


def test_work_in_the_background_tells_and_returns():
    def work(report):
        report(0.5, "half")
        report(1.0, "all")
        return threading.current_thread()

    steps = in_background(work)
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            thread = end.value
            break
    assert told == [(0.5, "half"), (1.0, "all")]
    assert thread is not threading.current_thread()


def test_what_the_work_raises_is_raised():
    def work(report):
        report(0.5, "half")
        raise ZeroDivisionError("of work")

    steps = in_background(work)
    next(steps)
    with pytest.raises(ZeroDivisionError, match="of work"):
        next(steps)


def test_closing_ends_the_work_at_its_next_report():
    done = []

    def work(report):
        for number in range(1000):
            report(number / 1000, "on")
            time.sleep(0.01)
            done.append(number)

    steps = in_background(work)
    next(steps)
    steps.close()
    count = len(done)
    assert count < 50
    time.sleep(0.05)
    assert len(done) == count  # it has ended, not only been left alone
