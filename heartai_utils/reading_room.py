"""The reading room: give a page, see what the course's best model says of it, and take a report home.

    >>> show()

In JupyterLab and under Voilà (``heartai app``) that is a small application; where nobody is there to use it, a
sentence. What is given stays in memory on this machine: nothing is sent, nothing written, and the upload is dropped as
soon as it has been read. The logic is in `page_report` and `page_html`; here are the widgets alone.
"""

from __future__ import annotations

import asyncio
import html
import os
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

import ipywidgets
import numpy as np
from IPython.display import display

from heartai_utils import page, uploads
from heartai_utils.conditions import NAMES
from heartai_utils.simulation import Recording, RecordingError, print_filter, simulate_recording

if TYPE_CHECKING:  # it brings TensorFlow along, which takes seconds: the room opens first
    from heartai_utils.page_report import PageReport, Reader

MOST = 12
"""Reports kept on the screen; each is about a megabyte of the browser's memory."""

_SETTLED = 0.4  # seconds

NOBODY = "The reading room opens here in JupyterLab, and as a page of its own by the command: heartai app"


def show() -> None:
    """Open the reading room in a notebook's cell, if there is somebody to use it."""
    if somebody_is_there():
        display(Room(level=2 if _under_voila() else 3).box)
    else:  # no widget is made, whose state would stay behind in an executed notebook
        print(NOBODY)


def somebody_is_there() -> bool:
    """Whether a reader sits before the cell: as `widgets.somebody_is_there`, or somebody has opened it under Voilà."""
    if _under_voila():
        return True
    from heartai_utils import widgets  # it draws, so it takes a while to import

    return widgets.somebody_is_there()


def _under_voila() -> bool:
    return os.environ.get("SERVER_SOFTWARE", "").startswith("voila/")


class Room:
    """The widgets, and what happens when they are used.

    Args:
        load: gives the reader; by default the model `best`, warmed up. Called in a thread, so that the room opens at
            once.
        level: of the headings.

    Attributes:
        box: everything, to be displayed.
        reader: the future of the reader.
    """

    def __init__(self, load: Callable[[], Reader] | None = None, level: int = 3):
        self.level, self._busy = level, False
        self.status = ipywidgets.HTML()
        self.status.add_class("heart-ai-status")
        self.upload = ipywidgets.FileUpload(
            accept=".jpg,.jpeg,.png,.pdf", multiple=True, description="Choose pages to read", icon="",
            tooltip="JPEG, PNG or PDF, 20 MB a file at most", layout=_wide(),
        )  # fmt: skip
        self.condition = ipywidgets.Dropdown(options=NAMES, description="Condition", layout=_wide(), style=_LABEL)
        self.seed = ipywidgets.BoundedIntText(1, 0, 999_999, description="Seed", layout=_wide(), style=_LABEL)
        self.draw = ipywidgets.Button(description="Draw a page and read it", layout=_wide())
        self.path = ipywidgets.Text(
            placeholder="folder/record.hea", description="Its path", layout=_wide(), style=_LABEL,
            continuous_update=False,
        )  # fmt: skip
        self.print = ipywidgets.Button(description="Print the record and read it", layout=_wide())
        self.clear = ipywidgets.Button(description="Clear all reports", layout=_wide())
        self.reports = ipywidgets.VBox()
        ways = (
            ("A page of yours", _YOURS, self.upload),
            ("A simulated page", _SIMULATED, self.condition, self.seed, self.draw),
            ("A recording on this machine", _RECORD, self.path, self.print),
        )
        rows = ipywidgets.Layout(flex_flow="row wrap", align_items="flex-start")
        choices = ipywidgets.Box([_group(level, *way) for way in ways], layout=rows)
        self.clear.layout.display, self.clear.layout.margin = "none", "2px 2px 2px 0.5em"
        self.box = ipywidgets.VBox([_opening(), choices, self.status, self.clear, self.reports])
        self.box.add_class("heart-ai-room")

        self.upload.observe(self._uploaded, "value")
        self.draw.on_click(lambda _: self._soon(self._simulated))
        self.print.on_click(lambda _: self._soon(self._recorded))
        self.clear.on_click(self._cleared)
        self._say("Getting ready: the model is being loaded. You can choose a page already.")
        pool = ThreadPoolExecutor(1)
        self.reader: Future = pool.submit(load or _load)
        self.reader.add_done_callback(self._ready)
        pool.shutdown(wait=False)

    # --- what happens ---------------------------------------------------------------------------------------------

    def _ready(self, loaded: Future) -> None:
        error = loaded.exception()
        if error:
            self._say(f"The model could not be loaded: {error}", alarm=True)
        elif not self._busy:  # else a page is waiting for it, and says so
            self._say("Ready.")

    def _uploaded(self, change: dict) -> None:
        files = [(file["name"], bytes(file["content"])) for file in change["new"]]
        if files:
            self.upload.value = ()  # not kept
            self._do(self._read_files, files)

    def _read_files(self, files: list[tuple[str, bytes]]) -> Iterable[tuple]:
        for name, data in files:
            try:
                pages = uploads.open_pages(name, data)
            except page.PageError as error:
                yield name, error
                continue
            from heartai_utils.page_report import published

            known = published(data)
            for each in pages:
                yield each.name, each.image, None, known

    def _simulated(self) -> Iterable[tuple]:
        name, seed = self.condition.value, self.seed.value
        recording = simulate_recording(name, seed)
        yield f"Simulated page: {name}, seed {seed}", page.draw_page(recording, seed=seed), recording

    def _recorded(self) -> Iterable[tuple]:
        path = self.path.value.strip()
        if not path:
            yield "", ValueError("no record is named: write the path of its .hea file, such as records/100.hea")
            return
        try:
            recording = as_printed(Recording.from_wfdb(os.path.expanduser(path)))
        except (ValueError, OSError) as error:
            yield path, error
            return
        yield f"Record {recording.facts['source']}, printed", page.draw_page(recording), recording

    def _soon(self, pages: Callable[[], Iterable[tuple]]) -> None:
        """Read when what was chosen just before is here: a browser holds choices back while we work, but no click."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:  # no browser
            self._do(pages)
        else:
            loop.call_later(_SETTLED, self._do, pages)

    def _do(self, pages: Callable[..., Iterable[tuple]], *given) -> None:
        """Read what is given, page by page, and say what became of it; the newest report stands first."""
        refused, read, self._busy = [], [], True
        self._say("Reading …")
        try:
            for name, what, *more in pages(*given):
                if isinstance(what, Exception):
                    refused.append(str(what))
                    continue
                self._say(f"Reading {name} …")
                report = self.reader.result().report(name, what, *more)
                read.append(f"{name}: {report.verdict.condition}")
                self._add(report)
        except Exception as error:  # whatever it is: said in the room, which stays open
            refused.append(f"something went wrong ({type(error).__name__}: {error}); give the page again")
        finally:
            self._busy = False
        from heartai_utils import page_html

        told = f"Read: {'; '.join(read)}. The report stands below." if read else ""
        self._say(told, more=page_html.refusal(refused) if refused else "")

    def _add(self, report: PageReport) -> None:
        from heartai_utils import page_html

        shown = ipywidgets.HTML(page_html.fragment(report, self.level) + page_html.download_link(report))
        kept = [shown, *self.reports.children]
        self.reports.children = tuple(kept[:MOST])
        self.clear.layout.display = ""
        for old in kept[MOST:]:
            old.close()

    def _cleared(self, _=None) -> None:
        old, self.reports.children = self.reports.children, ()
        for each in old:
            each.close()
        self.clear.layout.display = "none"
        self._say("All reports are gone.")

    def _say(self, words: str, alarm: bool = False, more: str = "") -> None:
        role = "alert" if alarm else "status"
        self.status.value = f'<div class="heart-ai"><p role="{role}">{html.escape(words)}</p></div>{more}'


def as_printed(recording: Recording) -> Recording:
    """A recording of any machine as this one prints it: through its filter, `simulation.print_filter`.

    Raises:
        RecordingError: it is shorter than a page.
    """
    seconds = recording.signals.shape[1] / recording.rate
    if seconds < page.STRIP_SECONDS - 0.1:
        source = recording.facts.get("source", "the recording")
        raise RecordingError(
            f"{source} lasts {seconds:.1f} s: a page shows {page.STRIP_SECONDS:.0f} s, give a longer one"
        )
    filtered = print_filter(recording.signals, recording.rate, "zero-phase").astype(np.float32)
    return replace(recording, signals=filtered)


def _load() -> Reader:
    from heartai_utils.page_report import Reader

    reader = Reader()
    reader.warm_up()
    return reader


# --- how it looks -------------------------------------------------------------------------------------------------

_LABEL = {"description_width": "5.5em"}
_YOURS = (
    "JPEG, PNG or PDF of the printed report, 20 MB a file at most, several at once. "
    "It stays on this machine and is not kept."
)
_SIMULATED = "A heart drawn by a seed; its truth is known."
_RECORD = "Twelve leads in PhysioNet's WFDB format, printed as the machine would."


def _wide() -> ipywidgets.Layout:
    return ipywidgets.Layout(width="100%", max_width="24em", height="auto", min_height="2.2em")


def _opening() -> ipywidgets.HTML:
    from heartai_utils._room_looks import STYLE, WARNING

    return ipywidgets.HTML(
        f'<style>{STYLE}</style><div class="heart-ai heart-ai-opening"><p class="warning">{WARNING}</p></div>'
    )


def _group(level: int, title: str, about: str, *controls: ipywidgets.Widget) -> ipywidgets.VBox:
    heading = ipywidgets.HTML(f'<div class="heart-ai"><h{level}>{title}</h{level}><p>{about}</p></div>')
    layout = ipywidgets.Layout(flex="1 1 17em", max_width="26em", padding="0 0.5em")
    return ipywidgets.VBox([heading, *controls], layout=layout)
