"""Misspelt names: the known name that each is closest to, as a question at the end of a message."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the known name that is closest to ``name``; empty if none is close.

    Upper and lower case, dashes and underscores count as equal.

    Example:
        >>> did_you_mean("chanels", ["paper", "channels"])
        " Did you mean 'channels'?"
        >>> did_you_mean("zebra", ["paper", "channels"])
        ''
    """
    plain = {_plain(each): each for each in known}
    close = difflib.get_close_matches(_plain(name), plain, 1)
    return f" Did you mean {plain[close[0]]!r}?" if close else ""


def checked_keywords(more: Iterable[str] = ()) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function name the keyword that was meant when it is called with one that it does not have.

    Python does so itself from 3.13 on, but not for keywords that are passed on as ``**options``.

    Args:
        more: Keywords that the function accepts beside the named ones.

    Example:
        >>> @checked_keywords()
        ... def analyse(*, pooling="paper"):
        ...     return pooling
        >>> analyse(poling="channels")
        Traceback (most recent call last):
        ...
        TypeError: analyse() got an unexpected keyword argument 'poling'. Did you mean 'pooling'?
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        variadic = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
        parameters = inspect.signature(function).parameters.values()
        known = [each.name for each in parameters if each.kind not in variadic and each.name != "self"]
        known += more
        name = function.__qualname__.removesuffix(".__init__")

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            for keyword in kwargs:
                if keyword not in known:
                    raise TypeError(
                        f"{name}() got an unexpected keyword argument {keyword!r}."
                        f"{did_you_mean(keyword, known)}"
                    )
            return function(*args, **kwargs)

        return checked

    return decorate


def _plain(name: str) -> str:
    return name.lower().replace("_", "-").lstrip("-")
