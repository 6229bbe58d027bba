"""Items as one sheet of small pictures, so that a thousand of them are one image in the page."""

import base64
import io
import math
from typing import NamedTuple

import torch
from torch import Tensor

SIDE = 56  # pixels at most


class Sheet(NamedTuple):
    """Pictures side by side."""

    uri: str
    width: int  # of one picture
    height: int
    columns: int
    rows: int


def sheet(pictures: Tensor) -> Sheet:
    """Lay pictures in [0, 1] ``[S, C, H, W]`` out on one sheet, PNG for grey, JPEG for colour, as a data URI."""
    from PIL import Image

    height, width = pictures.shape[-2:]
    scale = min(1.0, SIDE / max(height, width))
    if scale < 1:
        height, width = max(1, round(height * scale)), max(1, round(width * scale))
        pictures = torch.nn.functional.interpolate(pictures, (height, width), mode="bilinear", antialias=True)
    columns = max(1, round(math.sqrt(len(pictures))))
    rows = -(-len(pictures) // columns)
    pixels = torch.zeros(rows * columns, pictures.shape[1], height, width)
    pixels[: len(pictures)] = pictures.nan_to_num()
    pixels = pixels.unflatten(0, (rows, columns)).permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, -1)
    array = (pixels * 255).round().to(torch.uint8).numpy()
    grey = array.shape[2] == 1
    image = Image.fromarray(array[:, :, 0] if grey else array)
    held = io.BytesIO()
    if grey:
        image.save(held, "PNG", optimize=True)
    else:
        image.save(held, "JPEG", quality=82)
    kind = "png" if grey else "jpeg"
    uri = f"data:image/{kind};base64,{base64.b64encode(held.getvalue()).decode()}"
    return Sheet(uri, width, height, columns, rows)
