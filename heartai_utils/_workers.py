"""How the processes behave that draw or measure pages for a caller."""

from __future__ import annotations

import os
import signal
import threading
from multiprocessing import parent_process

import cv2


def start_worker() -> None:
    """To be run first in each worker process, as the ``initializer`` of its pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller is interrupted; pages begun are finished
    threading.Thread(target=_end_with_caller, daemon=True).start()
    cv2.setNumThreads(1)


def _end_with_caller() -> None:
    """A worker whose caller was killed would wait for pages for ever."""
    parent_process().join()
    os._exit(1)
