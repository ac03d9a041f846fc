"""Restores what a model holds besides tensors: containers, arrays of numpy, and random generators."""

from __future__ import annotations

import random
import zlib
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

#: Bytes of a tensor or an array up to which it is copied at once. Statistics, counters and most biases are smaller.
SMALL = 1 << 18

#: Attributes by which transformers knows that a module has its hooks. The hooks stay, so these have to stay too: it
#: would add the hooks a second time, and record every hidden state twice.
_OF_HOOKS = {"_output_capturing_hooks_installed"}

_CONTAINERS = (list, dict, set, deque)


def reachable(value: Any) -> Iterator[Any]:
    """A value, and what containers and tuples hold in any depth.

    Example:
        >>> list(reachable({"a": [1, (2,)]}))[-2:]
        [2, 1]
    """
    waiting, seen = [value], set[int]()
    while waiting:
        value = waiting.pop()
        if not isinstance(value, (*_CONTAINERS, tuple)):
            yield value
        elif id(value) not in seen:
            seen.add(id(value))
            yield value
            waiting.extend(value.values() if isinstance(value, dict) else value)


def restorer(value: Any) -> Callable[[], bool] | None:
    """A function that gives a value its present content again; None if the value is of another kind.

    It returns False if the content is lost: that of a large array that was written to.

    Example:
        >>> numbers = [1, 2]
        >>> restore = restorer(numbers)
        >>> numbers.append(3)
        >>> restore(), numbers
        (True, [1, 2])
    """
    if isinstance(value, _CONTAINERS):
        items = value.copy()
        return lambda: _refill(value, items)
    if isinstance(value, np.ndarray) and value.flags.writeable and not value.dtype.hasobject:
        return _restorer_of_array(value)
    if isinstance(value, torch.Generator):
        return _once(value.set_state, value.get_state())
    if isinstance(value, np.random.Generator):
        return _once(lambda state: setattr(value.bit_generator, "state", state), value.bit_generator.state)
    if isinstance(value, np.random.RandomState):
        return _once(value.set_state, value.get_state())
    if isinstance(value, random.Random) and not isinstance(value, random.SystemRandom):
        return _once(value.setstate, value.getstate())
    return None


def _once(setter: Callable[[Any], object], state: Any) -> Callable[[], bool]:
    def restore() -> bool:
        setter(state)
        return True

    return restore


def _restorer_of_array(array: np.ndarray[Any, Any]) -> Callable[[], bool]:
    if array.nbytes > SMALL:
        checksum = _checksum(array)
        return lambda: _checksum(array) == checksum
    copy = array.copy()

    def restore() -> bool:
        array[...] = copy
        return True

    return restore


def _checksum(array: np.ndarray[Any, Any]) -> int:
    return zlib.crc32(array.tobytes())


def _refill(now: Any, was: Any) -> bool:
    """Restore the items of a container if they have changed."""
    if isinstance(now, dict):
        if [*map(id, now.values())] == [*map(id, was.values())] and now.keys() == was.keys():
            return True
        for name in now.keys() - was.keys() - _OF_HOOKS:
            del now[name]
        now.update(was)
    elif isinstance(now, set):
        now.intersection_update(was)
        now.update(was)
    elif [*map(id, now)] != [*map(id, was)]:
        now.clear()
        now.extend(was)
    return True
