"""Properties that are computed once, by threads that do not wait for one another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class once(Generic[T]):  # noqa: N801 (a decorator)
    """A property that is computed when it is first used, and then kept.

    ``functools.cached_property`` of Python before 3.12 has one lock for all objects of a class: of several threads
    that score one layer each, one would work and the others wait.

    Example:
        >>> class Sample:
        ...     @once
        ...     def total(self) -> float:
        ...         print("summed")
        ...         return 6.0
        >>> sample = Sample()
        >>> sample.total + sample.total
        summed
        12.0
    """

    def __init__(self, function: Callable[[Any], T]) -> None:
        self._function = function
        self.__doc__ = function.__doc__

    def __get__(self, instance: Any, owner: type) -> T:
        if instance is None:
            return self  # type: ignore[return-value]
        value = instance.__dict__[self._function.__name__] = self._function(instance)
        return value
