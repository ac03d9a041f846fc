"""The ``app.py`` of a Space that brings this package along: unpacks the wheel beside it, then runs its page.

A Space installs ``requirements.txt`` before its other files are there, so the wheel cannot be named in it.
"""

from __future__ import annotations

import runpy
import sys
import tempfile
import zipfile
from pathlib import Path

WHEEL = "%WHEEL%"

if __name__ == "__main__":
    here = Path(__file__).parent
    packages = tempfile.mkdtemp()
    with zipfile.ZipFile(here / WHEEL) as archive:
        archive.extractall(packages)
    sys.path.insert(0, packages)
    runpy.run_path(str(here / "page.py"), run_name="__main__")
