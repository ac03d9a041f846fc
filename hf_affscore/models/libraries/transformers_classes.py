"""Find the class of a configuration: in transformers, or in the code that comes with a checkpoint."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_affscore.errors import ModelError
from hf_affscore.hub import pin
from hf_affscore.models.repository import Repository
from hf_affscore.options import Options

if TYPE_CHECKING:
    from transformers import PreTrainedModel

#: Auto classes to search for the class of a configuration that does not name one.
AUTO_CLASSES = (
    "AutoModelForImageClassification",
    "AutoModel",
    *("AutoModelForObjectDetection", "AutoModelForSemanticSegmentation", "AutoModelForDepthEstimation"),
    *("AutoModelForUniversalSegmentation", "AutoModelForInstanceSegmentation", "AutoModelForPoseEstimation"),
    *("AutoModelForMaskedImageModeling", "AutoModelForKeypointDetection", "AutoModelForImageMatting"),
    *("AutoModelForZeroShotImageClassification", "AutoModelForZeroShotObjectDetection"),
    *(
        "AutoBackbone",
        "AutoModelForImageTextToText",
        "AutoModelForVideoClassification",
        "AutoModelForPreTraining",
    ),
)

#: Keys of an ``auto_map`` that do not name a model; all other keys do.
NO_MODELS = {
    *("AutoConfig", "AutoTokenizer", "AutoProcessor"),
    *("AutoImageProcessor", "AutoFeatureExtractor", "AutoVideoProcessor"),
}


def class_of(config: Any) -> type[PreTrainedModel]:
    """The transformers class that a configuration was saved from, else the first that accepts it.

    A checkpoint that declares a bare backbone is loaded as one, without a random classification head.

    Raises:
        ModelError: There is no such class.
    """
    import transformers
    from transformers import PreTrainedModel

    for name in getattr(config, "architectures", None) or []:
        declared = getattr(transformers, name, None)
        if isinstance(declared, type) and issubclass(declared, PreTrainedModel):
            return declared
    for name in AUTO_CLASSES:
        mapping = getattr(transformers, name)._model_mapping
        if type(config) in mapping:
            found: Any = mapping[type(config)]
            return found[0] if isinstance(found, tuple) else found  # type: ignore[no-any-return]
    raise ModelError(
        f"{type(config).__name__} belongs to no image model of transformers {transformers.__version__}; expected "
        "a model of images. Load the part that takes images, and pass it as a torch.nn.Module."
    )


def class_in_checkpoint(repository: Repository) -> str | None:
    """The model class in the ``auto_map`` of a checkpoint, ``module.Class``; None if it has none.

    The class that the checkpoint was saved from is preferred, under any key.
    """
    named = repository.config.get("auto_map") or {}
    models = {key: name for key, name in named.items() if key not in NO_MODELS and isinstance(name, str)}
    saved_from = repository.config.get("architectures") or []
    usual = (models[key] for key in ("AutoModelForImageClassification", "AutoModel") if key in models)
    declared = (name for name in models.values() if name.rpartition(".")[2] in saved_from)
    return next(iter([*declared, *usual, *models.values()]), None)


def needs_code(repository: Repository) -> bool:
    """Whether a checkpoint has its own code, and transformers does not have its configuration."""
    from transformers import CONFIG_MAPPING

    return (
        bool(repository.config.get("auto_map")) and repository.config.get("model_type") not in CONFIG_MAPPING
    )


def remote_class(name: str, repository: Repository, options: Options) -> tuple[Any, dict[str, str]]:
    """The class in the code of a checkpoint, and the commit of that code if it is in another repository."""
    from transformers.dynamic_module_utils import get_class_from_dynamic_module

    source = repository.source
    elsewhere, _, _ = name.rpartition("--")
    code = pin("model", elsewhere, revision=None, token=options.token) if elsewhere else source.commit
    found = get_class_from_dynamic_module(
        name, source.location, revision=source.commit, code_revision=code, token=options.token
    )
    return found, {elsewhere: str(code)} if elsewhere else {}
