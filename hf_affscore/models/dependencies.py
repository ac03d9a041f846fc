"""What a checkpoint is made of besides its own files: the base of an adapter, and code in other repositories."""

from __future__ import annotations

from collections.abc import Iterator

from hf_affscore.hub import pin
from hf_affscore.models.libraries.peft import Peft, base_of
from hf_affscore.models.loading import explained
from hf_affscore.models.repository import CONFIG, Repository
from hf_affscore.options import Options
from hf_affscore.sources import Source

#: The files that name code of a checkpoint.
NAMING_CODE = (CONFIG, "preprocessor_config.json", "video_preprocessor_config.json", "processor_config.json")


def dependencies(source: Source, options: Options) -> dict[str, str]:
    """The states of the other checkpoints and repositories that a checkpoint is loaded from, by name.

    Raises:
        ModelError: One of them does not exist or is not accessible.
    """
    if ":" in str(options.loader):  # code of the user, which reads what it likes
        return {}
    repository = Repository(source, options.token)
    found = {}
    with explained(source, options):
        if Peft().recognises(repository):
            base = base_of(repository, options).source
            found = {base.name: base.state, **dependencies(base, options)}
        if options.trust_remote_code:
            for name in sorted(set(_repositories_of_code(repository))):
                found[name] = pin("model", name, revision=None, token=options.token)
    return found


def _repositories_of_code(repository: Repository) -> Iterator[str]:
    """The repositories that an ``auto_map`` names, as in ``user/code--module.Class``."""
    for file in NAMING_CODE:
        classes = repository.json(file).get("auto_map")
        for named in classes.values() if isinstance(classes, dict) else ():
            for name in named if isinstance(named, list) else [named]:
                elsewhere, _, _ = str(name).rpartition("--")
                if elsewhere:
                    yield elsewhere
