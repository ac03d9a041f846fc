"""transformers: its own models, and models whose code comes with the checkpoint."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from hf_affscore.errors import ModelError
from hf_affscore.models.libraries.library import Loaded
from hf_affscore.models.libraries.transformers_classes import (
    class_in_checkpoint,
    class_of,
    needs_code,
    remote_class,
)
from hf_affscore.models.libraries.transformers_processor import own_processor, processor_of
from hf_affscore.models.libraries.transformers_quantized import quantization, quantization_explained
from hf_affscore.models.repository import Repository
from hf_affscore.models.vision_forward import refuse_other_inputs
from hf_affscore.options import Options

if TYPE_CHECKING:
    from torch import nn


class Transformers:
    """See :class:`~hf_affscore.models.libraries.library.Library`."""

    def recognises(self, repository: Repository) -> bool:
        """By the keys that every configuration of transformers has."""
        return any(key in repository.config for key in ("model_type", "architectures", "auto_map"))

    def load(self, repository: Repository, options: Options) -> Loaded:
        """With ``from_pretrained`` of the class that the checkpoint was saved from, at the pinned commit."""
        import torch

        config = configuration(repository, options)
        network, code = _class(config, repository, options)
        refuse_other_inputs(network)
        dtype = options.dtype if options.dtype == "auto" else getattr(torch, options.dtype)
        place = {"device_map": options.device_map} if options.device_map else {}
        quantised = quantization(config)
        with _unknown_words_named(config), quantization_explained(repository, quantised):
            module, report = network.from_pretrained(
                repository.source.location,
                config=config,
                dtype=dtype,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused below, in a sentence
                **_at(repository, options),
                **place,
            )
        _refuse_other_weights(module, report)
        notes: dict[str, Any] = {"code": code} if code else {}
        if quantised:  # its weights are packed, several in one number
            with torch.device("meta"):
                whole: Any = from_configuration(network, config)
            notes |= {"quantization": quantised, "num_parameters": whole.num_parameters()}
        return Loaded(module, sorted(report["missing_keys"]), notes=notes)

    def build(self, repository: Repository, options: Options) -> nn.Module:
        """From the configuration alone; parts of timm keep timm's initialisation."""
        import torch

        options.refuse(("device_map",), "random weights are drawn on one device")
        config = configuration(repository, options)
        network, _ = _class(config, repository, options)
        module = from_configuration(network, config)
        return module if options.dtype == "auto" else module.to(getattr(torch, options.dtype))

    def processor(self, repository: Repository, module: nn.Module, options: Options) -> Any:
        """The checkpoint's own processor, else the one that belongs to its configuration's class."""
        own = own_processor(repository, _at(repository, options))
        return processor_of(module) if own is None else own


def configuration(repository: Repository, options: Options) -> Any:
    """The configuration of a checkpoint, changed so that no pretrained parts are downloaded.

    Raises:
        ModelError: The checkpoint has code of its own, which is not allowed to run.
    """
    from transformers import AutoConfig

    if needs_code(repository) and not options.trust_remote_code:
        raise ModelError(
            f"Model {repository.source.name!r} comes with code of its own, which its auto_map names. Read it; if "
            "you trust it, pass trust_remote_code=True (--trust-remote-code)."
        )
    attention = {"attn_implementation": options.attn_implementation} if options.attn_implementation else {}
    config = AutoConfig.from_pretrained(repository.source.location, **_at(repository, options), **attention)
    _all_from_the_checkpoint(config)
    return config


def from_configuration(network: Any, config: Any) -> nn.Module:
    """A network of transformers with its own initialisation; its parts of timm with timm's initialisation.

    Nothing is downloaded for it, and the configuration stays as it is.
    """
    config = copy.deepcopy(config)
    _all_from_the_checkpoint(config)
    with _timm_keeps_its_own(), _unknown_words_named(config):
        module: nn.Module = network(config)
    return module


def _refuse_other_weights(module: nn.Module, report: Mapping[str, Any]) -> None:
    """Refuse a checkpoint whose weights are not those of its configuration.

    Raises:
        ModelError: A weight has another shape, or none has the name of one of the network's.
    """
    network = type(module).__name__
    for found in sorted(report["mismatched_keys"], key=str):
        name, *shapes = [found] if isinstance(found, str) else found  # a name alone before transformers 5
        stored = f"shape {tuple(shapes[0])}" if shapes else "another shape"
        raise ModelError(
            f"The checkpoint's {name} has {stored}, and {network} as its config.json describes it has "
            f"{tuple(module.state_dict()[name].shape)}. Correct config.json."
        )
    missing, unexpected = sorted(report["missing_keys"]), sorted(report["unexpected_keys"])
    if unexpected and {name for name, _ in module.named_parameters()} <= set(missing):
        raise ModelError(
            f"None of the checkpoint's weights belongs to {network}: they are called {unexpected[0]} and the like, "
            f"and the network's {missing[0]}. Rename them: a wrapper, such as torch.compile, may have put "
            "something before their names."
        )


def _class(config: Any, repository: Repository, options: Options) -> tuple[Any, dict[str, str]]:
    remote = class_in_checkpoint(repository) if options.trust_remote_code else None
    return (class_of(config), {}) if remote is None else remote_class(remote, repository, options)


def _at(repository: Repository, options: Options) -> dict[str, Any]:
    return {
        "revision": repository.source.commit,
        "token": options.token,
        "trust_remote_code": options.trust_remote_code,
    }


def _all_from_the_checkpoint(config: Any) -> None:
    """Switch off the download of pretrained backbones, whose weights the checkpoint would replace."""
    for name in ("backbone_config", "vision_config"):
        part = getattr(config, name, None)
        if part is not None:
            _all_from_the_checkpoint(part)
    if getattr(config, "use_pretrained_backbone", False):
        config.use_pretrained_backbone = False
    arguments = getattr(config, "model_args", None)
    if isinstance(arguments, dict):  # for timm; transformers passes the number of classes itself
        arguments.pop("num_classes", None)


@contextmanager
def _timm_keeps_its_own() -> Iterator[None]:
    """Keep transformers from initialising the weights of a timm network again.

    It would draw every convolution and linear layer with standard deviation 0.02, where timm has 0.08 to 0.48:
    after a few layers the signal would vanish.
    """
    from torch.nn.modules.module import register_module_module_registration_hook

    def mark(_: nn.Module, __: str, part: nn.Module | None) -> None:
        if type(part).__module__.startswith("timm."):
            for each in part.modules() if part is not None else ():
                each._is_hf_initialized = True  # type: ignore[assignment]  # transformers then skips it

    handle = register_module_module_registration_hook(mark)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _unknown_words_named(config: Any) -> Iterator[None]:
    """Name the setting with an unknown value, such as an activation of a newer version."""
    import transformers

    try:
        yield
    except KeyError as error:
        word = error.args[0] if error.args else None
        found = [
            name for name, value in _settings(config.to_dict()) if isinstance(word, str) and value == word
        ]
        if not found:
            raise
        raise ModelError(
            f"{type(config).__name__} has {found[0]} = {word!r}, which transformers {transformers.__version__} "
            "does not know. Check the spelling, or use the version that wrote the checkpoint."
        ) from error


def _settings(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in document.items():
        if isinstance(value, dict):
            yield from _settings(value)
        else:
            yield name, value
