"""How tests start several processes that work together."""

import sys


def torchrun(processes):
    """The command that starts a script, named after it, in so many processes of this machine."""
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
