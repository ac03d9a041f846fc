"""Properties that are computed once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from hf_affscore.score.once import once


def test_threads_with_an_object_each_do_not_wait_for_one_another():
    """Each waits until the other computes too, which the lock of functools in Python 3.11 would not allow."""
    meeting = Barrier(2, timeout=20)

    class Meets:
        @once
        def place(self):
            return meeting.wait()

    with ThreadPoolExecutor(2) as threads:
        objects = [Meets(), Meets()]
        places = list(threads.map(lambda one: one.place, objects))
    assert sorted(places) == [0, 1]
    assert [one.place for one in objects] == places  # kept, without a second meeting
