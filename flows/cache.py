"""Where built, computed and fetched things are kept between runs."""

import os
from pathlib import Path

from golden.errors import BadInput

__all__ = ["cache_folder"]


def cache_folder(kind: str) -> Path:
    """Folder for one kind of thing: ``$XDG_CACHE_HOME/sparsefuse/kind``, or below ``~/.cache``.

    Raises:
        BadInput: neither the variable nor a home folder says where.
    """
    configured = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification says that a relative path is to be ignored.
    if os.path.isabs(configured):
        return Path(configured, "sparsefuse", kind)
    try:
        return Path.home() / ".cache" / "sparsefuse" / kind
    except RuntimeError as error:
        raise BadInput(
            f"XDG_CACHE_HOME: must be set where no home folder is known: {error}."
        ) from error
