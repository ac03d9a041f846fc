"""ONNX graphs, converted by onnx2torch if it supports their operators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from hf_affscore.errors import ModelError
from hf_affscore.models.libraries.library import Loaded, NeedsWeights, as_asked
from hf_affscore.models.libraries.torch_export import only_file
from hf_affscore.models.repository import Repository
from hf_affscore.options import Options

if TYPE_CHECKING:
    from torch import nn

ENDING = ".onnx"


class Onnx:
    """See :class:`~hf_affscore.models.libraries.library.Library`."""

    def recognises(self, repository: Repository) -> bool:
        """By a file with the extension ``.onnx``."""
        return any(name.endswith(ENDING) for name in repository.files)

    def load(self, repository: Repository, options: Options) -> Loaded:
        """The graph as a ``torch.nn.Module``."""
        import onnx
        from onnx2torch import convert

        name = only_file(repository, ENDING)
        beside = [other for other in repository.files if other.startswith(name) and other != name]
        graph = onnx.load(repository.folder([name, *beside]) / name)  # large weights are in a file beside it
        try:
            module: Any = convert(graph)
        except NotImplementedError as error:
            raise ModelError(
                f"onnx2torch cannot convert {name}: {error}. Export it again for an older version of ONNX, "
                "torch.onnx.export(..., opset_version=17), or load the checkpoint that it was exported from."
            ) from error
        weights = {each.name for each in graph.graph.initializer}
        inputs = [each for each in graph.graph.input if each.name not in weights]
        sizes = [size.dim_value for size in inputs[0].type.tensor_type.shape.dim]
        if len(inputs) != 1 or len(sizes) != 4:
            raise ModelError(
                f"{name} has {len(inputs)} input(s) of shape {sizes}; expected one batch of images."
            )
        if sizes[0]:  # not dynamic
            module.exported_batch_size = sizes[0]
        if all(sizes[2:]):
            module.image_size = tuple(sizes[2:])
        return Loaded(as_asked(module, options))

    def build(self, repository: Repository, options: Options) -> nn.Module:
        """Not possible: a graph contains its weights."""
        raise NeedsWeights("An ONNX graph contains its weights; it cannot be built without them.")

    def processor(self, repository: Repository, module: nn.Module, options: Options) -> Any:
        """None: a graph does not define its preprocessing."""
        return None
