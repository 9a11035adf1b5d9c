"""The table of a task's pictures, with the data and the renderer of each, and their images for a page."""

from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

from matplotlib.figure import Figure
from PIL import Image

from vsweep.analysis.basins import basins_of
from vsweep.analysis.decision_boundary import boundaries_of, first_steps_of
from vsweep.analysis.predictions import fits_of, parameter_curves, regions_of
from vsweep.analysis.trajectories import descents_of, loss_surface_of, surface_of
from vsweep.plots import predictions, trajectories
from vsweep.plots.style import PAGE_DARK, PAGE_LIGHT, Style, draw, encode

# The dots per inch of an image, and the pixels per inch at which a page shows it.
_DPI, _PIXELS = 150, 96


class TaskPicture(NamedTuple):
    """A picture of what a sweep trained.

    Attributes:
        data: A function that returns the picture's data for a sweep and arguments; it raises `KeyError` if
            the sweep has another task.
        render: A function that draws these data.
    """

    data: Callable[..., Any]
    render: Callable[[Any, Style], Figure]


TASK_PICTURES = {
    "regions": TaskPicture(regions_of, predictions.draw_regions),
    "fits": TaskPicture(fits_of, predictions.draw_fits),
    "boundaries": TaskPicture(boundaries_of, predictions.draw_boundaries),
    "first_steps": TaskPicture(first_steps_of, predictions.draw_first_steps),
    "loss_surface": TaskPicture(loss_surface_of, trajectories.draw_descents),
    "parameters": TaskPicture(parameter_curves, predictions.draw_parameters),
    "paths": TaskPicture(descents_of, trajectories.draw_descents),
    "surface": TaskPicture(surface_of, trajectories.draw_surface),
    "basin": TaskPicture(basins_of, trajectories.draw_basins),
}


class Images(NamedTuple):
    """The addresses of a picture's images in light and in dark, and its size in pixels of the page."""

    light: str
    dark: str
    width: int
    height: int


def page_images(name: str, data: Any) -> Images:
    """Draw the data of a named picture in light and in dark."""
    figures = [draw(TASK_PICTURES[name].render, data, style) for style in (PAGE_LIGHT, PAGE_DARK)]
    width, height = (round(inches * _PIXELS) for inches in figures[0].get_size_inches())
    light, dark = map(_address, figures)
    return Images(light, dark, width, height)


def _address(figure: Figure) -> str:
    image = Image.open(BytesIO(encode(figure, _DPI))).convert("RGB")
    buffer = BytesIO()
    # A palette makes the file a third as large, and smaller than an SVG.
    image.quantize(256, dither=Image.Dither.NONE).save(buffer, "png", optimize=True)
    return f"data:image/png;base64,{b64encode(buffer.getvalue()).decode()}"
