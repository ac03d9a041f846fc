"""Seeded damage to small valid files, and how much of it.

What reads something that others wrote either makes something of it or says in one sentence what is wrong with it. A
fuzzer of another kind of file is a parametrised test over :data:`ROUNDS` with that as its claim::

    @pytest.mark.parametrize("round_", ROUNDS)
    def test_damaged_cards(round_):
        for damaged in damage(CARD, seed=round_):
            read_or_refused(lambda: read(damaged), AffscoreError)

``make fuzz`` runs many rounds; ``FUZZ_ROUNDS=1`` and the seed that a failure names repeat one of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import numpy as np

#: Rounds of every fuzzer, each with a seed of its own and :data:`CASES` damaged files of each kind.
ROUNDS = range(int(os.environ.get("FUZZ_FIRST", "0")), int(os.environ.get("FUZZ_ROUNDS", "1")))
CASES = 12

#: Bytes that parsers trip over: nothing, everything, the largest and the least of signed numbers, ends of text.
ODD = (0x00, 0xFF, 0x7F, 0x80, 0x01, 0x0A, 0x3A)


def damage(valid: bytes, seed: int, cases: int = CASES) -> Iterator[bytes]:
    """``cases`` copies of a file, each damaged in one to four places of its own; the same for the same seed."""
    for case in range(cases):
        random = np.random.default_rng([seed, case, len(valid)])
        damaged = bytearray(valid)
        for _ in range(int(random.integers(1, 5))):
            DAMAGES[int(random.integers(len(DAMAGES)))](damaged, random)
        yield bytes(damaged)


def _place(data: bytearray, random: np.random.Generator) -> int:
    """Any place, half of the time one in the first 64 bytes, where most formats say what they are."""
    ends = (len(data), 64)
    return int(random.integers(max(1, min(len(data), ends[int(random.integers(2))]))))


def _flip(data: bytearray, random: np.random.Generator) -> None:
    if data:
        data[_place(data, random)] ^= 1 << int(random.integers(8))


def _set(data: bytearray, random: np.random.Generator) -> None:
    place, length = _place(data, random), int(random.integers(1, 5))
    data[place : place + length] = bytes([ODD[int(random.integers(len(ODD)))]]) * length


def _cut(data: bytearray, random: np.random.Generator) -> None:
    del data[_place(data, random) :]


def _remove(data: bytearray, random: np.random.Generator) -> None:
    place = _place(data, random)
    del data[place : place + int(random.integers(1, 17))]


def _repeat(data: bytearray, random: np.random.Generator) -> None:
    place, length = _place(data, random), int(random.integers(1, 65))
    data[place:place] = data[place : place + length]


def _insert(data: bytearray, random: np.random.Generator) -> None:
    place = _place(data, random)
    data[place:place] = random.bytes(int(random.integers(1, 9)))


DAMAGES = (_flip, _flip, _set, _set, _cut, _remove, _repeat, _insert)


def read_or_refused(read: Callable[[], object], *refusals: type[Exception]) -> object | None:
    """What ``read`` gives; None where it refuses with one of ``refusals``, of which the sentence is looked at.

    Anything else that it raises is a failure.
    """
    try:
        return read()
    except refusals as error:
        sentence = str(error)
        assert sentence.strip(), "refused without a reason"
        assert "\n" not in sentence, sentence
        return None
