"""Everything this package raises on purpose, so that a caller can catch one class.

Each message says what was expected, what was received and what to do next.
"""

__all__ = [
    "AffscoreError",
    "AffscoreWarning",
    "DatasetError",
    "HubError",
    "InputError",
    "ModelError",
    "NoActivationError",
    "SignatureError",
]


class AffscoreError(Exception):
    """Base of every error of this package."""


class InputError(AffscoreError, ValueError):
    """An argument has the wrong shape, type or value."""


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
    """Something was done differently from what was asked, and says so."""
