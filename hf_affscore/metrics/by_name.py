"""``evaluate.load("affinity_signature")`` in a process that has imported hf_affscore, without the Hub.

How evaluate is told stands in :mod:`hf_affscore.patches`. evaluate takes seconds to import and is not imported
for this: where it is imported already it is told at once, otherwise an import hook waits for it, and is removed
as soon as it has come. That is all that ``import hf_affscore`` does. The other ways would do more: copying the
metric into evaluate's cache writes into the home folder, outlives the process, and still asks the Hub before each
load; importing evaluate costs seconds; a ``.pth`` file would act in processes that never import this package.
``hf-affscore metric install`` makes the copy where it is wanted.
"""

from __future__ import annotations

from hf_affscore.metrics import FOLDER, NAME
from hf_affscore.patches import evaluate_finds


def register() -> None:
    """Let evaluate find the metric by its name, now or when it is imported."""
    evaluate_finds(NAME, FOLDER)
