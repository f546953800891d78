"""A figure with sliders where somebody can move them, and the same figure alone where nobody can.

    >>> def draw(heart_rate=70, lead="II"):
    ...     return figure, "what it shows, in numbers"
    >>> explore(draw, alt="One lead at the chosen heart rate", heart_rate=(40, 180, 5), lead=["II", "V1"])

In JupyterLab the figure follows the sliders. Executed without a reader (papermill, nbconvert, nbval,
``make refresh``), read on GitHub or in an exported page, the same cell holds the figure at its starting values.
"""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable

import ipywidgets
from IPython import get_ipython
from IPython.display import display
from matplotlib.figure import Figure

from heartai_utils import plots


def somebody_is_there() -> bool:
    """Whether the cell being executed was sent by a program in which a reader can answer.

    Jupyter's messages say so: ``allow_stdin`` is true where the sender can ask its reader for input, as JupyterLab can,
    and false where it executes a notebook from top to bottom, as nbclient, papermill and nbval do
    (https://jupyter-client.readthedocs.io/en/stable/messaging.html). Who can type an answer can move a slider.
    """
    kernel = getattr(get_ipython(), "kernel", None)
    return bool(kernel and kernel.get_parent("shell").get("content", {}).get("allow_stdin"))


def explore(draw: Callable[..., tuple[Figure, str]], alt: str, **controls) -> None:
    """Show what ``draw`` draws, with a slider or a list for each of its arguments.

    Args:
        draw: given a value for each control, returns a figure and the numbers to print beside it. It is called again
            on every move, so it should take about a tenth of a second at most. The defaults of its arguments are where
            the controls start.
        alt: what there is to see at the start, in a sentence.
        controls: by argument of ``draw``: ``(lowest, highest, step)`` for a slider, a list for a choice, a boolean for
            a box to tick; what ``ipywidgets.interact`` takes.

    Raises:
        TypeError: an argument of ``draw`` has no default, or a control belongs to none of its arguments.
    """
    start = _defaults(draw, controls)
    figure, numbers = draw(**start)
    if somebody_is_there():
        data, metadata = plots.bundle(figure, alt)
        # The picture stays in the cell's output: a saved notebook opened without its kernel shows it.
        data |= coupled(draw, start, controls)._repr_mimebundle_() | {"text/plain": alt}
        display(data, metadata=metadata, raw=True)
    else:  # and no widget is made, whose state would stay behind in the executed notebook
        plots.show(figure, alt)
        print(numbers)


def _defaults(draw: Callable, controls: dict) -> dict:
    defaults = {name: argument.default for name, argument in inspect.signature(draw).parameters.items()}
    for name in controls:
        if name not in defaults:
            raise TypeError(f"draw has no argument {name}: its arguments are {', '.join(defaults)}")
        if defaults[name] is inspect.Parameter.empty:
            raise TypeError(f"give draw's argument {name} a default: that is where its control starts")
    return {name: defaults[name] for name in controls}


def coupled(draw: Callable[..., tuple[Figure, str]], start: dict, controls: dict) -> ipywidgets.VBox:
    """The controls, the numbers and the picture, as one box; a move of any of them redraws both."""
    chosen = {name: ipywidgets.interactive.widget_from_abbrev(choice, start[name]) for name, choice in controls.items()}
    for name, control in chosen.items():
        control.description = name.replace("_", " ")
        control.style.description_width = "9em"
        control.layout.width = "25em"
    picture, numbers = ipywidgets.Image(format="png"), ipywidgets.HTML()

    def redraw(_=None) -> None:
        figure, text = draw(**{name: control.value for name, control in chosen.items()})
        picture.value, numbers.value = plots.png(figure), f"<pre>{html.escape(text)}</pre>"

    for control in chosen.values():
        control.observe(redraw, "value")
    redraw()
    rows = ipywidgets.Layout(flex_flow="row wrap")
    return ipywidgets.VBox([ipywidgets.Box(list(chosen.values()), layout=rows), numbers, picture])
