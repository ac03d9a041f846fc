"""What tests ask of a picture."""

import io
import os
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from hf_affscore.plots.style import style

GOLDEN = Path(__file__).parent / "plots" / "golden"


def reaches_the_edge(figure):
    """Whether ink touches the outermost pixels, as a clipped label does."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    edges = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
    return any((edge < 255).any() for edge in edges)


def golden_difference(figure, name):
    """Root mean square difference, of 255, from the stored picture; infinite if the sizes differ.

    Text is rasterised a little differently elsewhere, hence a number and not a yes or no. After a change that is
    meant, look at the new picture and store it: ``UPDATE_GOLDEN=1 pytest tests/plots``.
    """
    with style():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=60)
    pixels = np.asarray(Image.open(buffer).convert("RGB"), dtype=np.float64)
    stored = GOLDEN / f"{name}.png"
    if "UPDATE_GOLDEN" in os.environ:
        Image.fromarray(pixels.astype(np.uint8)).save(stored, optimize=True)
    expected = np.asarray(Image.open(stored).convert("RGB"), dtype=np.float64)
    if pixels.shape != expected.shape:
        return float("inf")
    return float(np.sqrt(np.mean((pixels - expected) ** 2)))
