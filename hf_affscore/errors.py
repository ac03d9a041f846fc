"""Everything this package raises on purpose, so that a caller can catch one class.

Each message says what was expected, what was received and what to do next. Many quote what another library
said, and such a text can hold an access token. So every message passes :func:`redacted` when its error or warning
is made, wherever the text came from.
"""

from __future__ import annotations

import os
import re
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

#: What the Hub's tokens look like: of persons, organisations, and those made for a session.
_TOKEN = re.compile(
    r"\b(?:hf|api_org)_(?:jwt_|oauth_)?[A-Za-z0-9]{16,}(?:[._-][\w-]+)*|(?<=[Bb]earer )[^\s'\",]+"
)
_VARIABLES = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
_used: set[str] = set()


def remember_token(token: str) -> None:
    """Take note of a token that is going to be used, whatever it looks like; no message shows it from now on."""
    if token.startswith("hf_") or len(token) >= 8:  # a shorter one is a word that messages need
        _used.add(token)


def redacted(text: str) -> str:
    """``text`` with every access token in it replaced by ``[token]``.

    Known are the tokens that were given to this package, those in the environment, and whatever looks like one.

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
    """``error`` as the cause of another, or ``None`` where a traceback would show a token with it."""
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
    """A package that this job needs is not installed; the message has the line that installs it."""


class ModelError(AffscoreError):
    """A model could not be found, loaded or run."""


class NoActivationError(ModelError):
    """A model ran, and no activation in it could be scored."""


class DatasetError(AffscoreError):
    """A data set could not be found, read, or used as a source of images."""


class HubError(AffscoreError):
    """A repository of signatures, or a card, could not be read from or written to the Hub."""


class SignatureError(AffscoreError):
    """A stored signature is missing, damaged or of an unknown version."""


class AffscoreWarning(UserWarning):
    """Something was done differently from what was asked. Its message shows no access token."""

    def __init__(self, *values: Any) -> None:
        super().__init__(*_redact_all(values))
