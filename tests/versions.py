"""Tests that need a newer library than the oldest that the package accepts.

``.ci/older`` runs most tests with older libraries. Where an older library lacks something, a test says so by
:func:`needs`; what users feel of it stands in docs/installation.md. With the newest libraries no test may be left
out this way: ``tests/release/test_versions.py``.
"""

from __future__ import annotations

from importlib.metadata import version

import pytest
from packaging.version import Version


def is_older(library: str, number: str) -> bool:
    """Whether the installed library is older than a version."""
    return Version(version(library)) < Version(number)


def needs(library: str, number: str, what: str) -> pytest.MarkDecorator:
    """Skip a test where a library is too old, and say what it lacks.

    Args:
        library: Name of the distribution.
        number: The oldest version with which the test passes, as far as was tried.
        what: What older ones lack, in a few words.
    """
    reason = f"{library} {version(library)} is older than {number}: {what}"
    return pytest.mark.skipif(is_older(library, number), reason=reason)
