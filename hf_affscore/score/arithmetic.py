"""Settings of the process and of the caller that must not reach a score.

Threads of BLAS change the order of sums. Where the rows are torch's, TF32 and autocast would shorten products of
float32, and the proof of an optimal coupling relies on their rounding error; and gradients would be recorded.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from hf_affscore.score.arrays import Array, is_torch, namespace
from hf_affscore.score.threads import one_blas_thread
from hf_affscore.torch_settings import full_float32


@contextmanager
def own_arithmetic(rows: Array) -> Iterator[None]:
    """One BLAS thread; and where ``rows`` are torch's, float32 in full, neither autocast nor gradients."""
    with ExitStack() as stack:
        stack.enter_context(one_blas_thread())
        if is_torch(rows):
            torch, kind = namespace(rows), rows.device.type
            stack.enter_context(full_float32)
            stack.enter_context(torch.no_grad())
            if torch.amp.is_autocast_available(kind):
                stack.enter_context(torch.autocast(kind, enabled=False))
        yield
