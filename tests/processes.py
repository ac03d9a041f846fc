"""How tests start processes that work together: by a launcher, as users do, or forked, in a quarter of the time."""

from __future__ import annotations

import multiprocessing
import os
import runpy
import socket
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

#: Imported once for all scripts of a test process: this is most of the time that a script takes.
PRELOADED = [
    "tests.processes",
    "hf_affscore.run.many",
    "hf_affscore.models.loading",
    "transformers.models.auto.modeling_auto",
    "transformers.models.resnet.modeling_resnet",
    "transformers.models.convnext.image_processing_convnext",
    "accelerate",
    "datasets",
]


def torchrun(processes: int) -> list[str]:
    """The command that starts a script, named after it, in so many processes of this machine."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]


Settings = dict[str, Any] | None


@dataclass(frozen=True)
class Done:
    """What is left of processes: the first exit status that is not 0, or 0, and what all of them printed."""

    returncode: int
    stdout: str
    stderr: str


def run_script(
    script: str | Path, *arguments: Any, processes: int = 1, settings: Settings = None, timeout: float = 200
) -> Done:
    """Run a script in so many processes that find each other by what torchrun puts into the environment.

    As under torchrun all end with the first that fails. For what a launcher does itself there are tests that start
    one.
    """
    with TemporaryDirectory() as folder:
        started = start_script(Path(folder), script, *arguments, processes=processes, settings=settings)
        codes = _codes(started, timeout)
        outputs = [_outputs(Path(folder), rank) for rank in range(processes)]
        out, err = (
            "".join(paths[number].read_text(encoding="utf-8") for paths in outputs) for number in (0, 1)
        )
    return Done(next((code for code in codes if code), 0), out, err)


def start_script(
    folder: Path, script: str | Path, *arguments: Any, processes: int = 1, settings: Settings = None
) -> list[BaseProcess]:
    """Start it, and leave what its processes print in ``folder``.

    They are forked from a process that has imported the libraries: most of what a script does is that.
    """
    forked = multiprocessing.get_context("forkserver")
    forked.set_forkserver_preload(PRELOADED)
    together = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": _free_port(), "WORLD_SIZE": processes}
    started: list[BaseProcess] = []
    for rank in range(processes):
        ranks = {**together, "RANK": rank, "LOCAL_RANK": rank} if processes > 1 else {}
        environment = {
            name: str(value) for name, value in {**os.environ, **ranks, **(settings or {})}.items()
        }
        process = forked.Process(target=_run, args=(script, arguments, environment, _outputs(folder, rank)))
        process.start()
        started.append(process)
    return started


def _outputs(folder: Path, rank: int) -> tuple[Path, Path]:
    return folder / f"{rank}.out", folder / f"{rank}.err"


def _codes(started: list[BaseProcess], timeout: float) -> list[int | None]:
    """Exit statuses in the order in which the processes ended."""
    codes: list[int | None] = []
    end, left = time.monotonic() + timeout, {process.sentinel: process for process in started}
    while left:
        for sentinel in wait(list(left), max(0.0, end - time.monotonic())):
            process = left.pop(sentinel)  # type: ignore[arg-type]
            process.join()
            codes.append(process.exitcode)
        late = time.monotonic() > end
        if late or any(codes):
            for process in left.values():
                process.kill()
        if late and left:
            raise TimeoutError(f"{len(left)} processes were still at work after {timeout} s")
    return codes


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _run(
    script: str | Path, arguments: tuple[Any, ...], environment: dict[str, str], output: tuple[Path, Path]
) -> None:
    """What a process does: the script, as if Python had been started with it."""
    import torch

    os.environ.clear()
    os.environ.update(environment)
    torch.set_num_threads(1)
    for number, path in enumerate(output, start=1):
        path.touch()
        os.dup2(os.open(path, os.O_WRONLY), number)
    sys.argv = [str(script), *map(str, arguments)]
    sys.path.insert(0, str(Path(script).parent))
    runpy.run_path(str(script), run_name="__main__")
