"""``evaluate.load("affinity_signature")`` in a process that has imported hf_affscore, without the Hub.

:mod:`hf_affscore.patches` implements this. evaluate takes seconds to import, so it is not imported here: if it is
already imported, it is patched at once; otherwise an import hook waits for its import and then removes itself.
``import hf_affscore`` does nothing more. The alternatives have larger effects: a copy of the metric in evaluate's
cache writes to the home folder, outlives the process, and still contacts the Hub before each load; importing
evaluate takes seconds; a ``.pth`` file would also act in processes that never import this package.
``hf-affscore metric install`` makes the copy for those who want it.
"""

from __future__ import annotations

from hf_affscore.metrics import FOLDER, NAME
from hf_affscore.patches import evaluate_finds


def register() -> None:
    """Let evaluate find the metric by its name, now or when it is imported."""
    evaluate_finds(NAME, FOLDER)
