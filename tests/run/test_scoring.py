"""Layers are dealt out to the processes that want them. The processes here are threads."""

import threading
from concurrent.futures import CancelledError, ThreadPoolExecutor

import numpy as np
import pytest

from hf_affscore.capture.features import Features
from hf_affscore.capture.sites import Site
from hf_affscore.capture.summary import Summary
from hf_affscore.options import Options
from hf_affscore.run import scoring
from hf_affscore.run.collect import Group
from hf_affscore.run.journal import Journal
from hf_affscore.run.scoring import Scorer
from hf_affscore.run.world import World

LAYERS = 6
SECONDS = 3  # after which a test gives up


class Meeting:
    """Where the threads of a test leave what they tell each other."""

    def __init__(self, size):
        self.size = size
        self.barrier = threading.Barrier(size)
        self.values = [None] * size


class OneOfThreads(World):
    """A process that is a thread."""

    def __init__(self, rank, meeting):
        super().__init__(rank, meeting.size)
        object.__setattr__(self, "meeting", meeting)

    def gather(self, value):
        self.meeting.values[self.rank] = value
        self.meeting.barrier.wait(SECONDS)
        values = list(self.meeting.values)
        self.meeting.barrier.wait(SECONDS)
        return values

    def gather_at(self, rank, value):
        values = self.gather(value)
        return values if self.rank == rank else []

    def apart(self):
        return self


class Watched(Journal):
    """Says which layers were scored, and lets the test hold one back."""

    def __init__(self, hold=None):
        super().__init__()
        self.hold = hold
        self.places = []

    def load_layer(self, group, place):
        if self.hold is not None:
            assert self.hold.wait(SECONDS)
        return super().load_layer(group, place)

    def save_layer(self, group, place, columns):
        self.places.append(place)


def site(number):
    return Site(module=f"features.{number}", activation="relu", call=0, kind="relu")


def group(rank, size):
    """The part of a group that a process has: one batch of 8 images."""
    generator = np.random.default_rng(rank)
    features = Features()
    rows = [Summary(generator.normal(size=(8, 4)), np.zeros(8)) for _ in range(LAYERS)]
    features.add(rank * 8, [(site(number), pre, pre) for number, pre in enumerate(rows)])
    return Group(features, num_samples=8 * size, num_batches=size)


def scored(world, journal):
    scorer = Scorer(Options(progress=False), world=world, journal=journal)
    try:
        return scorer.start(group(world.rank, world.size), 0).result(SECONDS)
    finally:
        scorer.close()


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setattr(scoring, "_num_threads", lambda: 1)


def test_a_process_that_is_held_up_leaves_the_other_layers_to_the_others():
    """Dealt out beforehand, three of six layers would be its own; it keeps the one it is at and the next."""
    meeting, others_are_done = Meeting(2), threading.Event()

    class Free(Watched):
        def save_layer(self, group, place, columns):
            super().save_layer(group, place, columns)
            if len(self.places) == LAYERS - 2:
                others_are_done.set()

    journals = [Watched(hold=others_are_done), Free()]
    with ThreadPoolExecutor(2) as processes:
        first, second = processes.map(
            lambda rank: scored(OneOfThreads(rank, meeting), journals[rank]), range(2)
        )
    assert first == second
    assert [site for site, _ in first] == [site(number) for number in range(LAYERS)]
    assert [len(journal.places) for journal in journals] == [2, LAYERS - 2]
    assert sorted(journals[0].places + journals[1].places) == list(range(LAYERS))


def test_layers_have_the_rows_of_all_processes():
    meeting = Meeting(3)
    with ThreadPoolExecutor(3) as processes:
        answers = list(processes.map(lambda rank: scored(OneOfThreads(rank, meeting), Watched()), range(3)))
    assert answers[0] == answers[1] == answers[2]
    assert {columns["num_samples"] for _, columns in answers[0]} == {24}


def test_closing_ends_the_dealing():
    """What is under way is finished, the rest is dropped, and whoever waited is told."""
    begun = threading.Event()

    class Slow(Watched):
        def load_layer(self, group, place):
            begun.set()
            return super().load_layer(group, place)

    journal = Slow(hold=threading.Event())
    scorer = Scorer(Options(progress=False), world=World(), journal=journal)
    answer = scorer.start(group(0, 1), 0)
    assert begun.wait(SECONDS)
    threading.Timer(0.2, journal.hold.set).start()
    scorer.close()
    with pytest.raises((CancelledError, RuntimeError)):
        answer.result(0)
    assert len(journal.places) == 1


def test_an_error_in_a_thread_reaches_whoever_waits():
    class Full(Journal):
        def save_layer(self, group, place, columns):
            raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        scored(World(), Full())
