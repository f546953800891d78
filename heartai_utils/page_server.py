"""The reading room as a page of its own, served by Voilà on this machine: what ``heartai app`` starts.

Of chapter 10 only the cells tagged ``app`` are run, so the room opens at once. The page asks no other machine for
anything; by default nobody but this machine can reach it.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from heartai_utils._room_looks import REMINDER

if TYPE_CHECKING:
    import nbformat

CHAPTER = Path(__file__).resolve().parents[1] / "notebooks" / "10_read_a_page.ipynb"
TEMPLATE = "heartai"
TAG = "app"
MAX_FILES = 12
"""As many of the largest files may be given at once: they come as one message."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_IDLE_SECONDS = 600  # after which a kernel whose page is gone ends; closing the page ends it at once
_PATIENCE_MS = 120_000  # before a browser that does not answer counts as gone


class PortTaken(ValueError):
    """The port cannot be had; the message says why and what to do."""


def app_part(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """A chapter's cells tagged ``app`` alone.

    Raises:
        ValueError: there is none.
    """
    kept = [cell for cell in notebook.cells if TAG in cell.metadata.get("tags", [])]
    if not kept:
        raise ValueError(f"no cell of the notebook is tagged {TAG!r}: restore {CHAPTER.name}")
    notebook.cells = kept
    notebook.metadata["title"] = "Heart AI: read a page"
    return notebook


def serve(ip: str = "127.0.0.1", port: int = 8866, browser: bool = True, told: Callable[[str], None] = print) -> None:
    """Serve the room until interrupted.

    Args:
        ip: address to listen on. Any other than this machine's own lets others in: they see no files, but use the room.
        port: to listen on.
        browser: whether to open the page there.
        told: is handed the address as soon as the page can be opened.

    Raises:
        PortTaken: the port cannot be had.
        ValueError: the chapter is missing.
    """
    if not CHAPTER.is_file():
        raise ValueError(f"{CHAPTER} is not there: install the package from a clone with `pip install -e .`")
    _check_free(ip, port)
    os.environ["JUPYTER_PATH"] = os.pathsep.join(
        [str(Path(__file__).parent), *filter(None, [os.environ.get("JUPYTER_PATH")])]
    )  # where the template is looked for
    # jsonschema, which Voilà brings along, builds a grammar of international addresses if it can. Nothing here asks for
    # one, and it takes as long as all else that the server imports.
    sys.modules.setdefault("rfc3987_syntax", None)
    from tornado.ioloop import IOLoop
    from traitlets.config import Config
    from voila.app import Voila

    from heartai_utils.uploads import MAX_BYTES

    config = Config()
    config.Voila.update(
        ip=ip,
        port=port,
        port_retries=0,
        open_browser=False,
        log_level="ERROR",
        config_file_paths=[],
        tornado_settings={
            "websocket_max_message_size": MAX_FILES * MAX_BYTES + 10_000_000,  # the message around the files
            "allow_remote_access": ip not in _LOOPBACK,
            "ws_ping_interval": _PATIENCE_MS,
            "ws_ping_timeout": _PATIENCE_MS,  # a busy browser may answer late; longer than the interval tornado refuses
        },
    )
    config.VoilaConfiguration.update(
        template=TEMPLATE,
        allow_template_override="NO",
        allow_theme_override="NO",
        prelaunch_hook=lambda request, notebook, cwd: app_part(notebook),
        resources={"max_bytes": MAX_BYTES, "max_files": MAX_FILES, "reminder": REMINDER},
        file_allowlist=[],
    )
    if os.name == "posix":
        config.KernelManager.transport = "ipc"  # to its kernels over files of this user, not over ports
    config.MappingKernelManager.update(cull_idle_timeout=_IDLE_SECONDS, cull_interval=60)
    server = Voila(config=config, notebook_path=str(CHAPTER))
    server.initialize(argv=[])
    address = f"http://{'localhost' if ip in _LOOPBACK else ip}:{port}/"

    def opened() -> None:
        told(address)
        if browser:
            threading.Thread(target=webbrowser.open, args=[address], daemon=True).start()

    IOLoop.current().add_callback(opened)  # runs when the server listens
    server.start()


def _check_free(ip: str, port: int) -> None:
    try:
        family, _, _, _, address = socket.getaddrinfo(ip, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
    except OSError as error:
        raise PortTaken(
            f"cannot listen on {ip}, port {port} ({error.strerror or error}): choose another with --port, or end "
            "what runs there"
        ) from None
