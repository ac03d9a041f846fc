"""What tests ask of a picture."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg


def reaches_the_edge(figure):
    """Whether ink touches the outermost pixels, as a clipped label does."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3]
    edges = [pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]
    return any((edge < 255).any() for edge in edges)
