"""What a Gradio Space needs to start: its page, its requirements and, where PyPI lacks this version, this package.

A Space installs ``requirements.txt`` before its other files are there, and only from an index. Where PyPI does not
have this version, the requirements are therefore those of this package, which goes along as a wheel, and ``app.py``
unpacks it (:mod:`.start`). The wheel is made of what is installed here, an editable installation included.
"""

from __future__ import annotations

import base64
import hashlib
import io
import re
import urllib.request
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from importlib.resources import files
from pathlib import Path
from typing import Final

from hf_affscore.errors import InputError
from hf_affscore.publish.commit import Change, State
from hf_affscore.version import __version__

NAME: Final = "hf-affscore"
EXTRAS: Final = ("plots", "compare", "space")  # what the pages need besides the package
INDEX = "https://pypi.org"

_WHEEL: Final = f"hf_affscore-{__version__}-py3-none-any.whl"
_INFO: Final = f"hf_affscore-{__version__}.dist-info"
_DATE: Final = (1980, 1, 1, 0, 0, 0)  # of all files, so that the same package gives the same bytes
_OF_A_SPACE: Final = re.compile(r"hf_affscore-[^/]*\.whl")


def with_package(page: bytes, others: dict[str, bytes]) -> Change:
    """The change that brings a Gradio Space up to date; wheels of other versions are removed.

    Args:
        page: The code of the page, which imports this package.
        others: Further files by path.

    Raises:
        InputError: PyPI lacks this version, and this package runs without being installed.
    """
    if on_index():
        needed = [f"{NAME}[{','.join(EXTRAS)}]=={__version__}"]
        contents = {**others, "app.py": page}
    else:
        needed = requirements()
        start = files(__package__).joinpath("start.py").read_text(encoding="utf-8")
        start = start.replace("%WHEEL%", _WHEEL)
        contents = {**others, "app.py": start.encode(), "page.py": page, _WHEEL: wheel()}
    contents["requirements.txt"] = "".join(f"{line}\n" for line in needed).encode()

    def change(state: State) -> dict[str, bytes | None]:
        old = (path for path in state.paths if _OF_A_SPACE.fullmatch(path) and path not in contents)
        return {**contents, **dict.fromkeys(old)}

    return change


def on_index() -> bool:
    """Whether PyPI has this version of this package; no, if it cannot be asked: the wheel works in any case."""
    try:
        with urllib.request.urlopen(f"{INDEX}/pypi/{NAME}/{__version__}/json", timeout=10) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def requirements() -> list[str]:
    """What this package and its pages need, as lines of a ``requirements.txt``.

    Raises:
        InputError: This package runs without being installed.
    """
    lines = []
    for requirement in _distribution().requires or []:
        needed, _, marker = (part.strip() for part in requirement.partition(";"))
        extra = re.search(r"extra == [\"'](\w+)[\"']", marker)
        if extra is None or extra[1] in EXTRAS:
            lines.append(needed)
    return sorted(lines)


def wheel() -> bytes:
    """This package as a wheel; the same files give the same bytes.

    Raises:
        InputError: This package runs without being installed.
    """
    installed = _distribution()
    folder = Path(str(files("hf_affscore")))
    paths = {path.relative_to(folder): path for path in folder.rglob("*") if path.is_file()}
    contents = {
        f"hf_affscore/{name.as_posix()}": path.read_bytes()
        for name, path in paths.items()
        if not any(part.startswith((".", "__pycache__")) for part in name.parts)
    }
    metadata = installed.read_text("METADATA") or installed.read_text("PKG-INFO") or ""
    metadata = re.sub(r"^Version: .*$", f"Version: {__version__}", metadata, count=1, flags=re.MULTILINE)
    info = {
        "METADATA": metadata,
        "WHEEL": "Wheel-Version: 1.0\nGenerator: hf-affscore\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        "entry_points.txt": installed.read_text("entry_points.txt") or "",
    }
    contents |= {f"{_INFO}/{name}": text.encode() for name, text in info.items()}
    lines = [f"{path},sha256={_digest(content)},{len(content)}\n" for path, content in contents.items()]
    contents[f"{_INFO}/RECORD"] = "".join([*sorted(lines), f"{_INFO}/RECORD,,\n"]).encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in sorted(contents.items()):
            archive.writestr(zipfile.ZipInfo(path, _DATE), content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")


def _distribution() -> Distribution:
    try:
        return distribution(NAME)
    except PackageNotFoundError as error:
        raise InputError(
            f"{NAME} runs here without being installed, so that what it needs is not known. Install it "
            "(`pip install -e .` in the checkout), then push again."
        ) from error
