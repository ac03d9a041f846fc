"""``hf-affscore metric install``: evaluate finds the metric by name in every process, online or offline.

If evaluate finds no Space of the organisation ``evaluate-metric``, it looks into its module cache. The file written
there is not a copy of the metric but imports it from the installed package: all environments of a user share the
cache, and it outlives upgrades.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Final

from hf_affscore.errors import InputError
from hf_affscore.metrics import NAME
from hf_affscore.storage import write_atomically

_REFERENCE: Final = f'''"""Written by `hf-affscore metric install`: the metric of the installed package."""

import evaluate

from hf_affscore.metrics.{NAME}.{NAME} import AffinitySignature
'''


def install() -> Path:
    """Put the metric into evaluate's module cache, where ``evaluate.load`` looks after the Hub.

    Returns:
        The file that was written.

    Raises:
        InputError: The cache cannot be written.
    """
    content = _REFERENCE.encode()
    # The folder's name is a SHA-256; evaluate uses the folder whose file was written last.
    folder = modules_cache() / "evaluate_modules" / "metrics" / f"evaluate-metric--{NAME}"
    file = folder / hashlib.sha256(content).hexdigest() / f"{NAME}.py"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(file, content)
    except OSError as error:
        raise InputError(
            f"The metric could not be written to {file}: {error.strerror or error}. "
            "Set HF_HOME or HF_MODULES_CACHE to a folder you can write to, now and when you use evaluate."
        ) from error
    return file


def modules_cache() -> Path:
    """The folder of evaluate's modules, by its own rules; importing evaluate to ask it would take seconds."""
    home = Path(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "huggingface")
    home = Path(os.environ.get("HF_HOME", home)).expanduser()
    return Path(os.environ.get("HF_MODULES_CACHE", home / "modules"))
