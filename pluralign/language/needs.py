"""Libraries that language models need, loaded where they are used."""

import importlib
import os
from typing import Any


def need(name: str, extra: str = "language") -> Any:
    """The module called `name`, which comes with an extra.

    Raises:
        ImportError: it is not installed; says what to install.
    """
    # Loading bars and advice of these libraries are not ours to print.
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    try:
        found = importlib.import_module(name)
        if name == "transformers":
            found.utils.logging.disable_progress_bar()
        return found
    except ImportError as problem:
        raise ImportError(
            f"language models need {name.split('.')[0]}, which is not installed ({problem}); install pluralign with "
            f"the extra `{extra}`."
        ) from problem
