"""PEFT: an adapter, applied to the base model that its configuration names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_affscore.errors import ModelError
from hf_affscore.models.libraries.library import Loaded
from hf_affscore.models.libraries.timm import Timm
from hf_affscore.models.libraries.transformers import Transformers
from hf_affscore.models.repository import Repository
from hf_affscore.options import Options
from hf_affscore.sources import locate

if TYPE_CHECKING:
    from torch import nn

ADAPTER = "adapter_config.json"
WEIGHTS = ("adapter_model.safetensors", "adapter_model.bin")


class Peft:
    """See :class:`~hf_affscore.models.libraries.library.Library`."""

    def recognises(self, repository: Repository) -> bool:
        """By an adapter without the weights of a whole model."""
        return ADAPTER in repository.files and "model.safetensors" not in repository.files

    def load(self, repository: Repository, options: Options) -> Loaded:
        """The base model with the adapter applied, not merged."""
        from peft import PeftModel, get_peft_model_state_dict, load_peft_weights

        base = base_of(repository, options)
        whole = _library(base).load(base, options)
        weights = [name for name in WEIGHTS if name in repository.files][:1]
        folder = repository.folder([ADAPTER, *weights])
        module = PeftModel.from_pretrained(whole.module, str(folder))
        named = {"id": base.source.name, "revision": base.source.state}
        missing = get_peft_model_state_dict(module).keys() - load_peft_weights(str(folder)).keys()
        return Loaded(module, [*whole.missing, *sorted(missing)], notes={**whole.notes, "base_model": named})

    def build(self, repository: Repository, options: Options) -> nn.Module:
        """Base model and adapter from their configurations alone."""
        from peft import PeftConfig, get_peft_model

        base = base_of(repository, options)
        settings = PeftConfig.from_pretrained(str(repository.folder([ADAPTER])))
        module: nn.Module = get_peft_model(_library(base).build(base, options), settings)
        return module

    def processor(self, repository: Repository, module: nn.Module, options: Options) -> Any:
        """The base model's."""
        base = base_of(repository, options)
        whole: Any = module
        return _library(base).processor(base, whole.get_base_model(), options)


def base_of(repository: Repository, options: Options) -> Repository:
    """The checkpoint that an adapter was trained on, pinned.

    Raises:
        ModelError: The adapter names no base model, or the base model cannot be found.
    """
    settings = repository.json(ADAPTER)
    name = settings.get("base_model_name_or_path")
    if not name:
        raise ModelError(
            f"Adapter {repository.source.name!r} names no base model; expected one in {ADAPTER}. "
            "Apply it by hand, peft.PeftModel.from_pretrained(base, folder), and pass the module."
        )
    source = locate("model", name, revision=settings.get("revision"), token=options.token)
    return Repository(source, options.token)


def _library(base: Repository) -> Timm | Transformers:
    return Timm() if Timm().recognises(base) else Transformers()
