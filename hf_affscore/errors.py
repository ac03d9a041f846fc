"""The errors and warnings of this package; all errors have one base class.

Each message says what was expected, what was received and what to do next. Many quote another library, and the
quoted text can hold an access token. So every error and warning passes its message through :func:`redacted` when
it is created.
"""

from __future__ import annotations

import inspect
import os
import re
import warnings
from itertools import count
from typing import Any

__all__ = [
    "AffscoreError",
    "AffscoreWarning",
    "DatasetError",
    "HubError",
    "InputError",
    "MissingPackageError",
    "ModelError",
    "NoActivationError",
    "SignatureError",
]

#: The formats of the Hub's tokens: of users, organisations and sessions.
_TOKEN = re.compile(
    r"\b(?:hf|api_org)_(?:jwt_|oauth_)?[A-Za-z0-9]{16,}(?:[._-][\w-]+)*|(?<=[Bb]earer )[^\s'\",]+"
)
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_used: set[str] = set()


def remember_token(token: str) -> None:
    """Remember a token of any format before it is used; no later message shows it."""
    if token.startswith("hf_") or len(token) >= 8:  # a shorter one may be a word that messages contain
        _used.add(token)


def redacted(text: str) -> str:
    """``text`` with every access token in it replaced by ``[token]``.

    It replaces tokens that were passed to this package, tokens in the environment, and any text in their format.

    Example:
        >>> redacted("Illegal header value b'Bearer hf_abcdefghijklmnop'")
        "Illegal header value b'Bearer [token]'"
    """
    known = _used | {
        value.strip() for name in _VARIABLES if len(value := os.environ.get(name, "").strip()) >= 8
    }
    for token in sorted(known, key=len, reverse=True):
        text = text.replace(token, "[token]")
    return _TOKEN.sub("[token]", text)


def shown_cause(error: BaseException) -> BaseException | None:
    """``error`` as the cause of another, or ``None`` if its traceback would show a token."""
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        if redacted(str(cause)) != str(cause):
            return None
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return error


def _redact_all(values: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(redacted(value) if isinstance(value, str) else value for value in values)


class AffscoreError(Exception):
    """Base of every error of this package. Its message shows no access token."""

    def __init__(self, *values: Any) -> None:
        super().__init__(*_redact_all(values))


class InputError(AffscoreError, ValueError):
    """An argument has the wrong shape, type or value."""


class MissingPackageError(AffscoreError, ImportError):
    """A required package is not installed; the message has the command that installs it."""


class ModelError(AffscoreError):
    """A model could not be found, loaded or run."""


class NoActivationError(ModelError):
    """A model ran, but none of its activations could be scored."""


class DatasetError(AffscoreError):
    """A data set could not be found, read, or used as a source of images."""


class HubError(AffscoreError):
    """A repository of signatures, or a card, could not be read from or written to the Hub."""


class SignatureError(AffscoreError):
    """A stored signature is missing, damaged or of an unknown version."""


class AffscoreWarning(UserWarning):
    """The result differs from what was asked for. Its message shows no access token."""

    def __init__(self, *values: Any) -> None:
        super().__init__(*_redact_all(values))


def warn(message: str) -> None:
    """Warn at the line outside this package that called it, so that each such line warns once."""
    frame = inspect.currentframe()
    for level in count(1):
        frame = frame and frame.f_back
        if frame is None or frame.f_globals.get("__name__", "").partition(".")[0] != __package__:
            warnings.warn(message, AffscoreWarning, stacklevel=level + 1)
            return
