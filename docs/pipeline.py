"""Draw docs/pipeline.png, the picture at the top of the README: one simulated heart on its way to a verdict.

python docs/pipeline.py
"""

from pathlib import Path

import numpy as np

from heartai_utils import downsampling, page, plots, simulation, training, verdict, vit
from heartai_utils.conditions import CONDITIONS, MYOCARDIAL_INFARCTION

SEED = 14  # one of the hearts that the small model tells rightly


def main() -> None:
    recording = simulation.simulate_recording(MYOCARDIAL_INFARCTION, SEED, territory="anterior")
    drawn = page.draw_page(recording, seed=SEED)
    small = downsampling.shrink(downsampling.to_grey(drawn))
    reader = verdict.PageReader()
    probabilities = training.predict(reader.model, small[None])[0]
    kept = vit.inkiest(vit.Patches()(small[None]), 192, first=4 * 32)
    mask = np.isin(np.arange(22 * 32), np.asarray(kept[0])).reshape(22, 32)
    tokens = np.where(np.kron(mask, np.ones((8, 8), bool)), small[:176].astype(float), 235)

    figure, axes = plots.new_figure(2, 2, size=(11, 7.2))
    pictures = [
        (downsampling.shrink(drawn, "area", (960, 682)), "1  a simulated heart on the printed page, 2213 × 1572"),
        (small, "2  its thumbnail, 256 × 182"),
        (tokens, "3  the 192 patches of 8 × 8 with most ink: the tokens"),
    ]
    for axis, (picture, title) in zip(axes.flat, pictures, strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=255, interpolation="antialiased")
        axis.set_title(title, loc="left")
        axis.set_axis_off()
    bars = axes[1, 1]
    bars.barh([c.name for c in CONDITIONS], probabilities, color=[c.colour for c in CONDITIONS])
    bars.set_xlim(0, 1)
    bars.invert_yaxis()
    bars.set_xlabel("probability")
    bars.set_title("4  the Vision Transformer's verdict", loc="left")
    figure.savefig(Path(__file__).with_name("pipeline.png"), metadata={"Software": None})


if __name__ == "__main__":
    main()
