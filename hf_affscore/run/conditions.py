"""Everything besides model, data set and options that can change a number: libraries, settings, variables, machine.

It is part of the cache's key, and of a signature's metadata as ``environment``. The numbers of threads and
processes are recorded but not part of the key: launchers choose them anew, and they change scores only by float32
rounding. :func:`hf_affscore.models.evaluation.evaluating` sets float32 precision and autocast while a model runs,
so their previous values do not matter.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import sys
import sysconfig
from contextlib import suppress
from modulefinder import ModuleFinder
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hf_affscore.capture.activations import registered_names
from hf_affscore.models.libraries.registry import installed_libraries
from hf_affscore.models.libraries.transformers_quantized import packages
from hf_affscore.options import Options

if TYPE_CHECKING:
    import torch

#: Libraries that can affect a number.
LIBRARIES = (
    *("torch", "torchvision", "transformers", "timm", "datasets", "accelerate"),
    *("numpy", "scipy", "pot", "pillow", "pyarrow"),
)

#: Environment variables that change arithmetic, instruction sets, or the choice of implementation.
VARIABLES = (
    # Instruction sets and numeric modes on CPUs.
    *("ATEN_CPU_CAPABILITY", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS", "OPENBLAS_CORETYPE"),
    *("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"),
    *("ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE"),
    *("NPY_DISABLE_CPU_FEATURES", "NPY_ENABLE_CPU_FEATURES", "KMP_DETERMINISTIC_REDUCTION", "GLIBC_TUNABLES"),
    # Precision and choice of kernels on accelerators.
    *("NVIDIA_TF32_OVERRIDE", "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE", "CUBLAS_WORKSPACE_CONFIG"),
    *("CUBLAS_EMULATE_SINGLE_PRECISION", "CUBLAS_EMULATE_DOUBLE_PRECISION", "CUBLAS_EMULATION_STRATEGY"),
    *("TORCH_BLAS_PREFER_CUBLASLT", "DISABLE_ADDMM_CUDA_LT", "TORCH_CUDNN_SDPA_PREFERRED"),
    *("HIPBLASLT_ALLOW_TF32", "ROCBLAS_INTERNAL_FP16_ALT_IMPL", "MIOPEN_FIND_MODE", "MIOPEN_FIND_ENFORCE"),
    *("CUDNN_DETERMINISTIC", "TORCH_CUDNN_V8_API_DISABLED", "TORCH_BLAS_PREFER_HIPBLASLT"),
    *("PYTORCH_MPS_FAST_MATH", "PYTORCH_MPS_PREFER_METAL", "PYTORCH_ENABLE_MPS_FALLBACK"),
    # Which implementation libraries choose.
    *("TIMM_FUSED_ATTN", "USE_HUB_KERNELS", "XFORMERS_DISABLED"),
)


def conditions(options: Options, device: torch.device) -> dict[str, Any]:
    """The conditions that the numbers of an analysis on ``device`` depend on, JSON-ready.

    Args:
        options: If ``loader`` names the user's own code, a checksum of that code is included.
        device: Where the model runs.
    """
    found: dict[str, Any] = {
        "versions": versions(),
        "model_libraries": installed_libraries(),
        "quantisation": packages(),
        "torch": torch_settings(),
        "pillow": _pillow_settings(),
        "variables": {name: os.environ[name] for name in VARIABLES if name in os.environ},
        "cpu": f"{platform.machine()} {_cpu_capability()}",
        "accelerators": accelerators(device),
        "registered_activations": registered_names(),
    }
    if isinstance(options.loader, str) and ":" in options.loader:
        found["loader"] = _checksum_of_code(options.loader.partition(":")[0])
    return found


def versions() -> dict[str, str]:
    """The versions of the libraries that can affect a number."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES if _is_installed(name)}


def torch_settings() -> dict[str, Any]:
    """Global settings of torch that choose a kernel, a layout or an implementation.

    Example:
        >>> torch_settings()["deterministic"]
        False
    """
    import torch
    from torch import backends
    from torch.backends import opt_einsum  # not imported by torch 2.6 itself

    cuda: Any = backends.cuda  # partly without annotations
    cudnn: Any = backends.cudnn
    return {
        "default_dtype": str(torch.get_default_dtype()).removeprefix("torch."),
        "default_device": str(torch.get_default_device()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "cudnn": {
            "version": cudnn.version() if torch.cuda.is_available() else None,
            "enabled": cudnn.enabled,
            "benchmark": cudnn.benchmark,
            "deterministic": cudnn.deterministic,
        },
        "mkldnn": torch._C._get_mkldnn_enabled(),
        "quantized_engine": backends.quantized.engine,
        "flush_denormal": _flushes_denormal(),
        "blas": str(cuda.preferred_blas_library()),
        "linalg": str(cuda.preferred_linalg_library()),
        "einsum": [opt_einsum.enabled, opt_einsum.strategy],
        "reduced_precision": [
            str(getattr(cuda.matmul, name, None))
            for name in (
                "allow_fp16_reduced_precision_reduction",
                "allow_bf16_reduced_precision_reduction",
                "allow_fp16_accumulation",
            )
        ],
        # Whether transformer layers run as one fused kernel, whose activations cannot be observed.
        "attention": {
            "fast_path": backends.mha.get_fastpath_enabled(),
            "flash": cuda.flash_sdp_enabled(),
            "memory_efficient": cuda.mem_efficient_sdp_enabled(),
            "cudnn": cuda.cudnn_sdp_enabled(),
            "math": cuda.math_sdp_enabled(),
            "timm_fused": _timm_fuses_attention(),
        },
    }


def accelerators(device: torch.device) -> list[str]:
    """The names of all accelerators of the type of ``device``; empty for a CPU."""
    import torch

    if device.type == "cpu":
        return []
    module: Any = getattr(torch, device.type, None)
    if not hasattr(module, "get_device_name"):
        return [device.type]
    names = {str(module.get_device_name(number)) for number in range(module.device_count())}
    return sorted(names)


def _pillow_settings() -> dict[str, Any]:
    """Settings of Pillow that decide whether damaged images, very large images and plugin formats are read."""
    from PIL import Image, ImageFile

    plugins = (factory for factory, _ in Image.OPEN.values() if not factory.__module__.startswith("PIL."))
    return {
        "load_truncated_images": ImageFile.LOAD_TRUNCATED_IMAGES,
        "max_image_pixels": Image.MAX_IMAGE_PIXELS,
        "other_formats": sorted(f"{factory.__module__}.{factory.__qualname__}" for factory in plugins),
    }


def _cpu_capability() -> str:
    import torch

    return str(torch.backends.cpu.get_cpu_capability())


def _flushes_denormal() -> bool:
    """Whether numbers below 1e-38 count as 0; torch has no function that says so."""
    import torch

    return bool(torch.tensor(1e-40, dtype=torch.float32, device="cpu") * 0.5 == 0)


def _timm_fuses_attention() -> bool:
    """Whether timm uses torch's fused attention (the default) or its own, where softmax is a separate call."""
    layers = sys.modules.get("timm.layers")
    return bool(layers.use_fused_attn()) if layers is not None else True


def _is_installed(distribution: str) -> bool:
    try:
        importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _checksum_of_code(name: str) -> str | None:
    """SHA-256 of a module's file, and of the user's own modules that it imports; None if it has no file.

    No module is imported. Installed packages are left out: their versions are part of the conditions.
    """
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError):
        return None
    if spec is None or spec.origin is None or not Path(spec.origin).is_file():
        return None
    finder = ModuleFinder(path=[folder for folder in sys.path if not _is_of_libraries(folder)])
    with suppress(Exception):  # it is the user's code, and may be none
        finder.import_hook(name)
    files = {
        spec.origin,
        *filter(None, (getattr(module, "__file__", None) for module in finder.modules.values())),
    }
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(hashlib.sha256(Path(file).read_bytes()).digest())
    return digest.hexdigest()


def _is_of_libraries(folder: str) -> bool:
    """Whether a folder on the path has the modules of Python or installed packages."""
    path = Path(folder)
    return path.is_relative_to(sysconfig.get_path("stdlib")) or not {
        "site-packages",
        "dist-packages",
    }.isdisjoint(path.parts)
