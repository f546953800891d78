"""A figure with sliders: it follows them where somebody is there, and is a plain picture where nobody is."""

from __future__ import annotations

import queue

import pytest
from jupyter_client.manager import start_new_kernel

from heartai_utils import plots, widgets

VIEW = "application/vnd.jupyter.widget-view+json"
CODE = """
from heartai_utils import plots, widgets

def draw(height=1.0, lead="II"):
    figure, axis = plots.new_figure(size=(2, 1))
    axis.plot([0, height])
    return figure, f"{lead} is {height:.1f} mV < 9 mV high"

widgets.explore(draw, alt="One line that rises to a height", height=(0.0, 2.0, 0.5), lead=["II", "V1"])
"""


def drawing(height=1.0, lead="II"):
    figure, axis = plots.new_figure(size=(2, 1))
    axis.plot([0, height])
    return figure, f"{lead} is {height:.1f} mV < 9 mV high"


def test_a_move_changes_the_picture_and_the_numbers():
    start, controls = {"height": 1.0, "lead": "II"}, {"height": (0.0, 2.0, 0.5), "lead": ["II", "V1"]}
    box = widgets.coupled(drawing, start, controls)
    (height, lead), numbers, picture = box.children[0].children, *box.children[1:]
    assert (height.min, height.max, height.step, height.value) == (0.0, 2.0, 0.5, 1.0)
    assert [height.description, lead.description, lead.value] == ["height", "lead", "II"]
    assert bytes(picture.value) == plots.png(drawing()[0])
    assert numbers.value == "<pre>II is 1.0 mV &lt; 9 mV high</pre>"
    before = bytes(picture.value)
    height.value = 2.0
    assert bytes(picture.value) == plots.png(drawing(2.0)[0]) != before
    lead.value = "V1"
    assert "V1 is 2.0 mV" in numbers.value


def test_without_a_reader_it_is_a_picture_with_its_numbers(monkeypatch, capsys):
    shown = []
    monkeypatch.setattr(plots, "display", lambda data, **_: shown.append(data))
    monkeypatch.setattr(widgets, "coupled", lambda *_: pytest.fail("a widget leaves its state in the notebook"))
    widgets.explore(drawing, alt="One line that rises to a height", height=(0.0, 2.0, 0.5))
    assert [set(data) for data in shown] == [{"image/png", "text/plain"}]
    assert capsys.readouterr().out == "II is 1.0 mV < 9 mV high\n"


def test_a_control_needs_an_argument_with_a_default():
    with pytest.raises(TypeError, match="no argument width: its arguments are height, lead"):
        widgets.explore(drawing, alt="One line that rises to a height", width=(0, 1))
    with pytest.raises(TypeError, match="argument height a default"):
        widgets.explore(lambda height: drawing(height), alt="One line that rises to a height", height=(0, 1))


@pytest.fixture(scope="module")
def client():
    """A kernel, and the client that talks to it as a front end would."""
    manager, client = start_new_kernel(kernel_name="python3")
    yield client
    client.stop_channels()
    manager.shutdown_kernel(now=True)


def test_executed_from_top_to_bottom_it_leaves_no_widget_behind(client):
    """nbclient (which papermill and nbconvert use) and nbval execute a cell without allowing it to ask."""
    messages = said(client, client.execute(CODE, allow_stdin=False))
    (bundle,) = [content["data"] for kind, content in messages if kind == "display_data"]
    assert set(bundle) == {"image/png", "text/plain"}
    assert [content["text"] for kind, content in messages if kind == "stream"] == ["II is 1.0 mV < 9 mV high\n"]
    assert "comm_open" not in dict(messages)


def test_with_a_reader_the_sliders_work(client):
    """What JupyterLab does: it shows the view, and sends the slider's new value on the slider's comm."""
    messages = said(client, client.execute(CODE, allow_stdin=True))
    (bundle,) = [content["data"] for kind, content in messages if kind == "display_data"]
    assert set(bundle) == {VIEW, "image/png", "text/plain"}
    opened = {content["comm_id"]: content["data"]["state"] for kind, content in messages if kind == "comm_open"}
    assert bundle[VIEW]["model_id"] in opened
    (slider,) = [comm for comm, state in opened.items() if state["_model_name"] == "FloatSliderModel"]
    moved = {"comm_id": slider, "data": {"method": "update", "state": {"value": 2.0}, "buffer_paths": []}}
    message = client.session.msg("comm_msg", moved)
    client.shell_channel.send(message)
    answers = [content["data"] for kind, content in said(client, message["header"]["msg_id"]) if kind == "comm_msg"]
    assert any(["value"] in answer.get("buffer_paths", []) for answer in answers), "no new picture"
    assert any("II is 2.0 mV" in str(answer["state"].get("value")) for answer in answers)


def said(client, message_id):
    """The (type, content) of all that a kernel publishes about one request, until it is idle again."""
    messages = []
    while True:
        try:
            message = client.get_iopub_msg(timeout=120)
        except queue.Empty:
            pytest.fail(f"the kernel fell silent after {[kind for kind, _ in messages]}")
        if message["parent_header"].get("msg_id") != message_id:
            continue
        messages.append((message["msg_type"], message["content"]))
        assert message["msg_type"] != "error", message["content"]
        if message["msg_type"] == "status" and message["content"]["execution_state"] == "idle":
            return messages
