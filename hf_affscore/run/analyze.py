"""The main entry point: one model and one set of images give one signature."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from hf_affscore.models.naming import check_name
from hf_affscore.options import DType, Level, Options, Pooling
from hf_affscore.run.runner import run
from hf_affscore.signature import Signature
from hf_affscore.spelling import checked_keywords

if TYPE_CHECKING:
    from torch import nn

DEFAULT = Options()


@checked_keywords()
def analyze(
    model: str | Path | nn.Module,
    dataset: str | Path | Iterable[Any],
    *,
    processor: Any = None,
    name: str | None = None,
    split: str | None = DEFAULT.split,
    dataset_config: str | None = DEFAULT.dataset_config,
    image_column: str | None = DEFAULT.image_column,
    num_samples: int | Literal["all"] = DEFAULT.num_samples,
    group_size: int = DEFAULT.group_size,
    max_images: int | None = DEFAULT.max_images,
    batch_size: int | None = DEFAULT.batch_size,
    shuffle: bool = DEFAULT.shuffle,
    seed: int = DEFAULT.seed,
    pooling: Pooling = DEFAULT.pooling,
    level: Level = DEFAULT.level,
    include: Sequence[str] = DEFAULT.include,
    exclude: Sequence[str] = DEFAULT.exclude,
    sparsity_samples: int = DEFAULT.sparsity_samples,
    shrinkage: bool = DEFAULT.shrinkage,
    regularization: float | Literal["relative"] = DEFAULT.regularization,
    num_groups: int = DEFAULT.num_groups,
    dtype: DType = DEFAULT.dtype,
    random_weights: bool = DEFAULT.random_weights,
    timestep: int | None = DEFAULT.timestep,
    repeat_frames: bool = DEFAULT.repeat_frames,
    device: str | None = DEFAULT.device,
    device_map: str | None = DEFAULT.device_map,
    attn_implementation: str | None = DEFAULT.attn_implementation,
    revision: str | None = DEFAULT.revision,
    dataset_revision: str | None = DEFAULT.dataset_revision,
    loader: str | Callable[..., Any] | None = DEFAULT.loader,
    trust_remote_code: bool = DEFAULT.trust_remote_code,
    token: str | bool | None = DEFAULT.token,
    memory_limit: float = DEFAULT.memory_limit,
    device_memory_limit: float = DEFAULT.device_memory_limit,
    cache: bool = DEFAULT.cache,
    reuse: str | None = DEFAULT.reuse,
    keep_rows: str | Path | None = DEFAULT.keep_rows,
    progress: bool = DEFAULT.progress,
) -> Signature:
    """The non-linearity signature of a vision network.

    Args:
        model: Hub id, local folder, or a ``torch.nn.Module`` (run on its own device in evaluation mode, and left
            unchanged).
        dataset: Hub id (``user/name``, ``user/name@revision``, ``hf://datasets/user/name@revision/folder``), local
            folder, file, pattern or list of files, ``datasets.Dataset`` or ``IterableDataset``, torch ``Dataset``,
            data frame, or an iterable of PIL images, encoded images, paths, or ready ``(3, H, W)`` tensors,
            alone or in tuples or dictionaries, or ``"noise"`` for standard normal pixels. For a video model, clips
            in place of images: lists of images, folders of frames, videos, ``(frames, 3, H, W)`` tensors.
        processor: An image processor of transformers, the Hub id or folder of a checkpoint that has one,
            ``"imagenet"``, or a function from a PIL image to a ``(3, H, W)`` tensor; default: the checkpoint's own.
        name: What to call a network that is passed as a module, here and in comparisons; default: its class.
        split: Split of the data set, or a part of one: ``validation[100:600]``; default: its test or
            validation split.
        dataset_config: Configuration of the data set.
        image_column: Column that holds the images, where there are several; of tuples ``"0"``, ``"1"``.
        num_samples: Images to use, or ``"all"``: then every ``group_size`` images are scored together, and rows
            hold means and deviations over the groups.
        group_size: With ``"all"``: images that are scored together. An incomplete last group is left out.
        max_images: Use at most this many images, the first of the draw.
        batch_size: Images per forward pass; default: 8 on a CPU, 64 on a GPU. It changes scores by float32
            rounding only.
        shuffle: Draw the images at random instead of taking the first.
        seed: Seed of the draw, and of noise.
        pooling: How an activation becomes one row per image: ``paper``, ``channels``, ``positions`` (also
            called ``tokens``) or ``none``; :mod:`hf_affscore.capture.pooling` explains them.
        level: ``activations``, or ``blocks``: the repeated blocks of the network and their attention and MLP,
            judged by how much of their output an affine map of the input predicts
            (:mod:`hf_affscore.score.block`). Rows then have no affinity score, and ``paper`` pooling means
            ``channels``.
        include: Score these too: names of activations that are left out by default (``softmax``), of module
            classes (``LayerNorm``), or paths of modules (``layer1.0``), with wildcards.
        exclude: Do not score these; same patterns as ``include``.
        sparsity_samples: Number of images on which sparsity is measured, drawn at random.
        shrinkage: Add the score with Ledoit-Wolf covariances.
        regularization: Ridge added to both covariances; ``"relative"`` takes 1e-6 of each side's mean variance,
            so that the score does not depend on the scale of the activations.
        num_groups: Above 1, the samples are also scored in this many disjoint parts, for a mean and a deviation.
        dtype: Number format of the weights of a loaded checkpoint.
        random_weights: Analyse the untrained architecture, with weights drawn with the seed.
        timestep: Noise step for a denoiser (a UNet of diffusers); default: 0.
        repeat_frames: Repeat each image as the frames of a clip, for video models.
        device: Device of a loaded checkpoint; default: a GPU if there is one.
        device_map: Spread a large checkpoint over the devices, as in transformers: ``"auto"``.
        attn_implementation: Attention of a loaded checkpoint, as in transformers: ``"eager"``, ``"sdpa"``.
        loader: What loads the checkpoint; default: the library that wrote it, recognised by its files. A name
            (``"timm"``) selects that library. ``"package.module:attribute"``, or a function, is called with the
            id or folder, and the commit of a Hub id as ``revision``; it returns a module, or a module and its
            processor. For a class, its ``from_pretrained`` is called.
        revision: Branch, tag or commit of the model.
        dataset_revision: Branch, tag or commit of the data set.
        trust_remote_code: Run code that comes with the checkpoint.
        token: Access token for the Hub.
        memory_limit: Gigabytes of rows to keep in memory; further rows go to a temporary file.
        device_memory_limit: Gigabytes of memory that scoring may take on each accelerator that the model lies on.
            Layers that need more are scored on the CPU, and all with 0, with blocks, or where there is no float64.
            Only the assignment solver then runs on the CPU; the scores agree to 1e-9.
        cache: Resume an interrupted analysis, and return a finished one at once. Only for models and data sets
            that have a name: a Hub id, a folder, noise.
        reuse: A collection on the Hub, ``"user/signatures"``: a signature of the same commits of model and data
            set, the same options and the same version of the numbers is fetched from there instead of computed,
            and ``metadata["reused"]`` says so. If there is none, the analysis runs as usual.
        keep_rows: A new folder for the pooled rows of every activation, from which
            :func:`hf_affscore.load_rows` reads them, for statistics of your own and for other options of the
            score without another forward pass. With several processes, a folder that all of them reach.
        progress: Show progress on stderr if it is a terminal.

    Returns:
        The signature: one row per activation call in execution order.

    Raises:
        ModelError: The model cannot be found, loaded or run, or has no activation that can be scored.
        DatasetError: The images cannot be found or read, or there are fewer than two.
        InputError: An option is out of range, or an input is of the wrong kind.

    Example:
        >>> from hf_affscore.assets import DEMO_DATASET, DEMO_MODEL
        >>> sig = analyze(DEMO_MODEL, DEMO_DATASET, num_samples=32)
        >>> sig.rows[0].activation, sig.rows[0].num_samples
        ('ReLU', 32)
    """
    check_name(name, model)
    options = Options(
        split=split,
        dataset_config=dataset_config,
        image_column=image_column,
        num_samples=num_samples,
        group_size=group_size,
        max_images=max_images,
        batch_size=batch_size,
        shuffle=shuffle,
        seed=seed,
        pooling=pooling,
        level=level,
        include=include,
        exclude=exclude,
        sparsity_samples=sparsity_samples,
        shrinkage=shrinkage,
        regularization=regularization,
        num_groups=num_groups,
        dtype=dtype,
        random_weights=random_weights,
        timestep=timestep,
        repeat_frames=repeat_frames,
        device=device,
        device_map=device_map,
        attn_implementation=attn_implementation,
        revision=revision,
        dataset_revision=dataset_revision,
        loader=loader,
        trust_remote_code=trust_remote_code,
        token=token,
        memory_limit=memory_limit,
        device_memory_limit=device_memory_limit,
        cache=cache,
        reuse=reuse,
        keep_rows=keep_rows,
        progress=progress,
    )
    return run(model, dataset, processor, options, name=name)
