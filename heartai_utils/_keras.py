"""Keras, imported without the noise of its backend; every module that needs Keras takes it from here.

TensorFlow's C++ library writes to file descriptor 2 while it loads. JupyterLab and papermill would store that in the
chapters, and nbval would then miss it in its own kernel, so the descriptor is silenced during the import.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _silenced_descriptor(number: int) -> Iterator[None]:
    saved, nowhere = os.dup(number), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, number)
    try:
        yield
    finally:
        os.dup2(saved, number)
        os.close(saved)
        os.close(nowhere)


os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

with _silenced_descriptor(2):
    import keras

    # The first operation initialises the backend's devices, which logs too.
    keras.ops.convert_to_numpy(keras.ops.zeros(1) + 1)

# Advice on retracing would go to standard output in a notebook, with an address in it. After the import, which sets
# the level too.
logging.getLogger("tensorflow").setLevel("ERROR")

__all__ = ["keras"]
