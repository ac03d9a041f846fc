"""Layers are dealt out to the processes that want them, and all fail at what one fails at.

The processes here are threads.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
import torch

from hf_affscore.capture.features import Features
from hf_affscore.capture.sites import CallSite
from hf_affscore.capture.summary import Summary
from hf_affscore.errors import ModelError
from hf_affscore.options import Options
from hf_affscore.run import scoring
from hf_affscore.run.collect import Group
from hf_affscore.run.groups import _UnderWay
from hf_affscore.run.processes import Processes
from hf_affscore.run.resume import ResumeCache
from hf_affscore.run.scoring import Scorer
from hf_affscore.training.track import by_main
from tests.accelerator import KIND, accelerator

LAYERS = 6
SECONDS = 3  # after which a test gives up


class Meeting:
    """Where the threads of a test leave what they tell each other."""

    def __init__(self, size):
        self.size = size
        self.barrier = threading.Barrier(size)
        self.values = [None] * size


class OneOfThreads(Processes):
    """A process that is a thread."""

    def __init__(self, rank, meeting):
        super().__init__(rank, meeting.size)
        self.meeting = meeting

    def _exchanged(self, value):
        self.meeting.values[self.rank] = value
        self.meeting.barrier.wait(SECONDS)
        values = list(self.meeting.values)
        self.meeting.barrier.wait(SECONDS)
        return values

    def gather_at(self, rank, value):
        values = self._exchanged(value)
        return values if self.rank == rank else []

    def with_own_connections(self):
        return self


class Watched(ResumeCache):
    """Says which layers were scored, and lets the test hold one back."""

    def __init__(self, hold=None):
        super().__init__()
        self.hold = hold
        self.places = []

    def load_layer(self, group, place, images):
        if self.hold is not None:
            assert self.hold.wait(SECONDS)
        return super().load_layer(group, place, images)

    def save_layer(self, group, place, images, columns):
        self.places.append(place)


def site(number):
    return CallSite(module=f"features.{number}", activation="relu", call=0, kind="relu")


def group(rank, size):
    """The part of a group that a process has: one batch of 8 images."""
    generator = np.random.default_rng(rank)
    features = Features()
    rows = [Summary(generator.normal(size=(8, 4)), np.zeros(8)) for _ in range(LAYERS)]
    features.add(rank * 8, [(site(number), pre, pre) for number, pre in enumerate(rows)])
    return Group(features, num_samples=8 * size, num_batches=size)


def scored(processes, resume, rows=group, *, device_memory_limit=0.0, devices=()):
    options = Options(progress=False, device_memory_limit=device_memory_limit)
    with Scorer(options, processes=processes, resume=resume, devices=devices) as scorer:
        return scorer.start(rows(processes.rank, processes.size), 0).result(SECONDS)


def in_threads(size, function):
    """What ``function(rank)`` gives or raises in each of so many threads."""
    with ThreadPoolExecutor(size) as processes:
        answers = [processes.submit(function, rank) for rank in range(size)]
    return [answer.exception() or answer.result() for answer in answers]


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    monkeypatch.setattr(scoring, "num_threads", lambda: 1)


def test_a_process_that_is_held_up_leaves_the_other_layers_to_the_others():
    """Dealt out beforehand, three of six layers would be its own; it keeps the one it is at and the next."""
    meeting, others_are_done = Meeting(2), threading.Event()

    class Free(Watched):
        def save_layer(self, group, place, images, columns):
            super().save_layer(group, place, images, columns)
            if len(self.places) == LAYERS - 2:
                others_are_done.set()

    caches = [Watched(hold=others_are_done), Free()]
    first, second = in_threads(2, lambda rank: scored(OneOfThreads(rank, meeting), caches[rank]))
    assert first == second
    assert [site for site, _ in first] == [site(number) for number in range(LAYERS)]
    assert [len(resume.places) for resume in caches] == [2, LAYERS - 2]
    assert sorted(caches[0].places + caches[1].places) == list(range(LAYERS))


def test_layers_have_the_rows_of_all_processes():
    meeting = Meeting(3)
    with ThreadPoolExecutor(3) as processes:
        answers = list(processes.map(lambda rank: scored(OneOfThreads(rank, meeting), Watched()), range(3)))
    assert answers[0] == answers[1] == answers[2]
    assert {columns["num_samples"] for _, columns in answers[0]} == {24}


def part_of_one_batch(rank, size):
    """The share of a process in 16 images, whose rows are the same for any number of processes."""
    generator, features = np.random.default_rng(0), Features()
    count = 16 // size
    rows = [generator.normal(size=(16, 4))[rank * count :][:count] for _ in range(LAYERS)]
    features.add(
        rank * count,
        [(site(number), *[Summary(own, np.zeros(count))] * 2) for number, own in enumerate(rows)],
    )
    return Group(features, num_samples=16, num_batches=size)


def test_scores_on_accelerators_are_the_same_in_any_number_of_processes():
    """Tasks go to processes as a whole, also where the first, which gets the only one, has no accelerator."""
    there = {"device_memory_limit": 1.0, "devices": [torch.device(KIND, 0)]}
    meeting = Meeting(2)
    with accelerator():
        alone = scored(Processes(), Watched(), part_of_one_batch, **there)
        for first, device in ((there, f"{KIND}:0"), ({**there, "devices": []}, "cpu")):
            caches = [Watched(), Watched()]

            def answer(rank, first=first, caches=caches):
                processes = OneOfThreads(rank, meeting)
                return scored(processes, caches[rank], part_of_one_batch, **(there if rank else first))

            found, same = in_threads(2, answer)
            assert found == same
            assert {columns["scored_on"] for _, columns in found} == {device}
            assert (found == alone) == (device != "cpu")
            assert [sorted(cache.places) for cache in caches] == [list(range(LAYERS)), []]


def test_a_task_that_was_not_finished_is_scored_again_as_a_whole():
    """Alone its layers would be decomposed alone, which may give other bits."""

    class Half(Watched):
        def load_layer(self, group, place, images):
            return {"skipped": "as in an earlier run"} if place % 2 else None

    class Whole(Half):
        def load_layer(self, group, place, images):
            return {"skipped": "as in an earlier run"}

    with accelerator():
        place = {"device_memory_limit": 1.0, "devices": [torch.device(KIND, 0)]}
        fresh = scored(Processes(), Watched(), **place)
        assert scored(Processes(), half := Half(), **place) == fresh
        assert sorted(half.places) == list(range(LAYERS))
        assert scored(Processes(), whole := Whole(), **place) != fresh
        assert whole.places == []


def test_an_error_ends_the_dealing():
    """What is under way is finished, the rest is dropped, and whoever waits is told the reason."""
    begun, reason = threading.Event(), ModelError("the next group failed")

    class Slow(Watched):
        def load_layer(self, group, place, images):
            begun.set()
            return super().load_layer(group, place, images)

    resume = Slow(hold=threading.Event())
    answers = []

    def interrupted():
        with Scorer(Options(progress=False), processes=Processes(), resume=resume) as scorer:
            answers.append(scorer.start(group(0, 1), 0))
            assert begun.wait(SECONDS)
            threading.Timer(0.2, resume.hold.set).start()
            raise reason

    with pytest.raises(ModelError, match="the next group"):
        interrupted()
    assert answers[0].exception(0) is reason
    assert len(resume.places) == 1


def test_an_error_in_the_middle_of_a_round_is_the_one_that_is_told():
    """Not that a layer was cancelled, or could not be begun."""
    reason = ModelError("the next group failed")

    class Ends(Processes):
        def _exchanged(self, value):
            if isinstance(value, scoring._Load):
                scorer.__exit__(ModelError, reason, None)
            return [value]

    scorer = Scorer(Options(progress=False), processes=Ends(), resume=Watched())
    scorer._scheduler.shutdown = lambda: None  # this is the thread it would wait for
    assert scorer.start(group(0, 1), 0).exception(SECONDS) is reason


class Full(ResumeCache):
    def save_layer(self, group, place, images, columns):
        raise OSError("no space left")


def test_an_error_in_a_thread_reaches_whoever_waits():
    with pytest.raises(OSError, match="no space left"):
        scored(Processes(), Full())


def test_an_error_in_a_thread_of_one_process_ends_the_dealing_in_all():
    meeting, caches = Meeting(3), [Watched(), Full(), Watched()]
    first, own, last = in_threads(3, lambda rank: scored(OneOfThreads(rank, meeting), caches[rank]))
    assert isinstance(own, OSError)
    assert str(first) == str(last) == "Process 1 failed: OSError: no space left"


def test_an_error_outside_ends_the_dealing_in_all_processes():
    """The images of the next group fail in a process that has scored all its layers; the other is at its own."""
    meeting, own_are_done, has_left = Meeting(2), threading.Event(), threading.Event()

    class Done(Watched):
        def save_layer(self, group, place, images, columns):
            super().save_layer(group, place, images, columns)
            if len(self.places) == LAYERS - 2:
                own_are_done.set()

    caches = [Done(), Watched(hold=has_left)]

    def process(rank):
        try:
            with Scorer(
                Options(progress=False), processes=OneOfThreads(rank, meeting), resume=caches[rank]
            ) as scorer:
                answer = scorer.start(group(rank, 2), 0)
                if rank == 1:
                    return answer.result(SECONDS)
                assert own_are_done.wait(SECONDS)
                raise ModelError("an image was not liked")
        finally:
            if rank == 0:
                has_left.set()

    for error in in_threads(2, process):
        assert isinstance(error, ModelError)
        assert str(error) == "an image was not liked"


# shared errors


def test_an_error_of_one_process_is_raised_in_all():
    """At the next gathering, and, where there is none, at the end."""
    meeting = Meeting(3)

    def told(rank, gathers, error):
        processes = OneOfThreads(rank, meeting)
        try:
            with processes.sharing_errors():
                if rank == 1:
                    raise error
                for _ in range(gathers):
                    processes.gather("some value")
        except (ModelError, ValueError, RuntimeError) as caught:
            return caught
        return None

    known, other = ModelError("as it is"), ValueError("by name")
    for gathers in (2, 1, 0):
        first, own, last = in_threads(3, lambda rank, gathers=gathers: told(rank, gathers, known))
        assert own is known
        assert (type(first), str(first)) == (type(last), str(last)) == (ModelError, "as it is")
    first, own, last = in_threads(3, lambda rank: told(rank, 0, other))
    assert own is other
    assert str(first) == str(last) == "Process 1 failed: ValueError: by name"
    assert in_threads(3, lambda rank: OneOfThreads(rank, meeting).gather(rank)) == [[0, 1, 2]] * 3


@pytest.mark.parametrize(
    ("error", "sent"),
    [
        (ModelError("as it is"), "ModelError: as it is"),
        (KeyError("name"), "RuntimeError: Process 0 failed: KeyError: 'name'"),
        (torch.OutOfMemoryError("no room"), "RuntimeError: Process 0 failed: OutOfMemoryError: no room"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt: "),
    ],
    ids=lambda value: type(value).__name__,
)
def test_whatever_ends_the_work_of_the_main_process_ends_the_waiting_of_the_others(error, sent):
    """A network that is being trained is measured by the main process alone; then all go on in step."""
    meeting = Meeting(3)

    def process(rank):
        processes = OneOfThreads(rank, meeting)

        def work():
            raise error

        try:
            by_main(processes, work)
        except BaseException as caught:
            outcome = caught
        return outcome, processes.gather(rank)

    (own, first), *others = in_threads(3, process)
    assert own is error
    assert [f"{type(other).__name__}: {other}" for other, _ in others] == [sent, sent]
    assert [first, *(ranks for _, ranks in others)] == [[0, 1, 2]] * 3


def test_errors_of_several_processes_at_once_are_their_own():
    meeting = Meeting(2)

    def process(rank):
        with OneOfThreads(rank, meeting).sharing_errors():
            raise ModelError(f"of {rank}")

    assert [str(error) for error in in_threads(2, process)] == ["of 0", "of 1"]


def test_batches_stay_where_the_main_process_could_not_keep_the_group(tmp_path):
    meeting = Meeting(2)

    class MainFull(ResumeCache):
        def save_group(self, number, group):
            return False

    def process(rank):
        resume = MainFull(tmp_path) if rank == 0 else ResumeCache(tmp_path)
        own = group(rank, 2)
        own.starts.append(rank * 8)
        scores = Future()
        scores.set_result([])
        _UnderWay(0, own, scores, {}, OneOfThreads(rank, meeting), resume).finish()

    (tmp_path / "batch-00000008.npz").write_bytes(b"rows")
    assert in_threads(2, process) == [None, None]
    assert list(tmp_path.glob("batch-*"))
