"""Train the model that comes with the course, on simulated pages alone, and write it with its record to data/weights/.

    python benchmarks/course_weights.py

960 pages are simulated; 768 train, 192 are held out and score it. Interrupted, it goes on. Ends with the record.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict

from heartai_utils import splits, training, vit
from heartai_utils.dataset import COURSE_PAGES, course_pages, data_home, write_whole
from heartai_utils.verdict import WEIGHTS

SEED = 0


def main() -> None:
    catalogue = course_pages("full", seed=SEED)
    split = splits.split(catalogue, "grouped", seed=SEED)
    config = training.TrainingConfig(vit.preset("course"), epochs=35, learning_rate=1e-3, weight_decay=0.05, seed=SEED)
    data = training.load_data(catalogue, split)
    run = training.train(config, data, data_home() / "runs" / f"course-weights-{data.fingerprint}")
    metrics = run.metrics.to_dict()
    record = {
        "about": f"Model: a Vision Transformer trained on {len(split.train)} simulated pages alone "
        f"({run.metrics.correct} of {run.metrics.pages} held-out simulated pages right); not to be trusted on others.",
        "command": "python benchmarks/course_weights.py",
        "pages": {"simulated": COURSE_PAGES["full"], "seed": SEED, "validation": len(split.validation)},
        "preset": "course",
        "training": {name: value for name, value in asdict(config).items() if name != "model"},
        "thumbnail": run.thumbnail,
        "data": data.fingerprint,
        "metrics": metrics,
    }
    WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(run.folder / "model.keras", WEIGHTS)
    write_whole(WEIGHTS.with_suffix(".json"), (json.dumps(record, indent=1) + "\n").encode())
    print(json.dumps(record))


if __name__ == "__main__":
    main()
