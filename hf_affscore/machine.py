"""What the machine leaves to this process: memory, the limits of containers and batch systems counted in."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

#: Where a control group says its limit, what is used of it, and what of that are files it can do without:
#: version 2, and version 1 with its own hierarchy for memory.
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def available_bytes() -> int:
    """Bytes of memory that this process can still take without swapping or being ended.

    The least of what the machine has available, what is left in each control group that this process is in, and
    what is left of the address space that it may use (``ulimit -v``).
    """
    import psutil

    return max(0, min(int(psutil.virtual_memory().available), *_left_in_groups(), *_left_to_address()))


def _left_in_groups(
    groups: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> list[int]:
    """What is left in each control group around this process that has a limit."""
    left = []
    for line in _read(groups).splitlines():
        _, controllers, path = line.split(":", 2)
        names = _V1 if controllers else _V2
        if controllers and "memory" not in controllers.split(","):
            continue
        home = root / "memory" if controllers else root
        for folder in _upwards(home, path):
            limit, used = (_read(folder / name).strip() for name in names[:2])
            if limit.isdigit() and used.isdigit():  # no limit is "max", or there is no file
                left.append(int(limit) - int(used) + _stated(folder / "memory.stat", names[2]))
    return left


def _upwards(home: Path, path: str) -> Iterator[Path]:
    """The folder of a control group and of those around it. In a container the path may be the host's."""
    folder = home / path.strip("/")
    yield folder
    while folder != home:
        folder = folder.parent
        yield folder


def _left_to_address() -> list[int]:
    """What is left of a limited address space."""
    try:
        import resource
    except ImportError:  # Windows
        return []
    import psutil

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return [] if limit == resource.RLIM_INFINITY else [limit - int(psutil.Process().memory_info().vms)]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:  # another system, another version, or no right to look
        return ""


def _stated(path: Path, name: str) -> int:
    lines = (line.split() for line in _read(path).splitlines())
    return next((int(words[1]) for words in lines if words[0] == name), 0)
