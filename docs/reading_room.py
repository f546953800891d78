"""Photograph docs/reading_room.png, the README's picture of `heartai app`: a simulated page and what is said of it.

python docs/reading_room.py

Needs `pip install -e ".[test]"` and a Chromium.
"""

import io
import sys
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from browser import chromium, free_port, serving

from heartai_utils.conditions import MYOCARDIAL_INFARCTION

PICTURE = Path(__file__).with_name("reading_room.png")
SIZE = {"width": 1100, "height": 1500}
PATIENCE = 240_000  # ms: the machine may be busy
COLOURS = 128  # of the stored picture, which is a third as large with a palette


def main() -> None:
    command = [Path(sys.executable).with_name("heartai"), "app", "--no-browser", "--port", str(free_port())]
    with serving(command, r"(http://\S+)") as found, chromium() as browser:
        page = browser.new_page(viewport=SIZE)
        page.set_default_timeout(PATIENCE)
        page.goto(found[1])
        page.get_by_label("Condition").select_option(MYOCARDIAL_INFARCTION.name)
        page.get_by_role("button", name="Draw a page and read it").click()
        page.locator("article.heart-ai").wait_for()
        page.wait_for_load_state("networkidle")
        photographed = Image.open(io.BytesIO(page.screenshot()))
    photographed.convert("RGB").quantize(COLOURS).save(PICTURE, optimize=True)


if __name__ == "__main__":
    main()
