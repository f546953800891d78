"""How fast the course's Vision Transformer trains and reads pages, beside a plain one in Keras and in PyTorch.

    python benchmarks/training_speed.py [--quick]

course, reference   presets of `heartai_utils.vit`, compiled and fitted by `heartai_utils.training` (deterministic)
keras               a Vision Transformer over all 704 patches as the field writes it: a convolution cuts patches,
                    `keras.layers.MultiHeadAttention`, AdamW; nothing about it is deterministic
keras-xla           the same, compiled by XLA; what is compared with is the faster of the two
torch               the same in PyTorch, with `scaled_dot_product_attention`; skipped where PyTorch is missing

All have the same width, depth, heads, MLP, batch and dropout (on what enters and on what attention and MLP add; none
on the attention weights, which would slow the plain ones down), and two cores. Each lives in a process of its own, and
they take turns, so that whatever else the machine does hits all alike. A throughput is the median of the rounds', a
ratio the median of the rounds' ratios.

Then simulated pages are read from their JPEG files: one at a time on one core, and all together on two. Last comes one
line of JSON; its gflops and peak_mb (of memory) are those of `course` while training.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
from tqdm.std import tqdm

CORES = 2
MOST_STEPS = 20  # in a turn
MATRICES = (1024, 1536, 2048)
SHAPE = {"width": 64, "heads": 4, "depth": 4, "hidden": 128, "dropout": 0.1, "patches": 704, "patch": 8}
LEARNING_RATE, WEIGHT_DECAY = 1e-3, 1e-4


@cache
def some_pages(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Thumbnails (count, 182, 256) and labels; the pixels do not matter for how long a step takes."""
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (count, 182, 256), dtype=np.uint8), np.arange(count) % 4


def pages_of(steps: int, batch: int) -> tuple[np.ndarray, np.ndarray]:
    """The pages of so many steps, out of those made once."""
    images, labels = some_pages(MOST_STEPS * batch)
    return images[: steps * batch], labels[: steps * batch]


# --- what takes turns: each makes a function that trains for a number of steps ------------------------------------


def ours(preset: str, batch: int) -> Callable[[int], None]:
    from heartai_utils import training, vit

    images, labels = pages_of(1, batch)
    config = training.TrainingConfig(
        vit.preset(preset), epochs=1, batch_size=batch, learning_rate=LEARNING_RATE, weight_decay=WEIGHT_DECAY
    )
    model = training.train(config, training.Data(images, labels, images, labels), progress=False).model
    return lambda steps: fit(model, steps, batch)


def fit(model, steps: int, batch: int) -> None:
    model.fit(*pages_of(steps, batch), batch_size=batch, shuffle=False, verbose=0)


def plain_keras(xla: bool, batch: int) -> Callable[[int], None]:
    from heartai_utils._keras import keras

    layers, s = keras.layers, SHAPE

    class AddPosition(layers.Layer):
        def build(self, shape):
            self.position = self.add_weight(shape=shape[1:], initializer="random_normal")

        def call(self, tokens):
            return tokens + self.position

    images = keras.Input((182, 256, 1))
    tokens = layers.Conv2D(s["width"], s["patch"], strides=s["patch"])(layers.Rescaling(1 / 255)(images))
    tokens = AddPosition()(layers.Reshape((s["patches"], s["width"]))(tokens))
    tokens = layers.Dropout(s["dropout"])(tokens)
    for _ in range(s["depth"]):
        normal = layers.LayerNormalization(epsilon=1e-6)(tokens)
        attended = layers.MultiHeadAttention(s["heads"], s["width"] // s["heads"])(normal, normal)
        tokens = layers.Add()([tokens, layers.Dropout(s["dropout"])(attended)])
        hidden = layers.Dense(s["hidden"], activation="gelu")(layers.LayerNormalization(epsilon=1e-6)(tokens))
        tokens = layers.Add()([tokens, layers.Dropout(s["dropout"])(layers.Dense(s["width"])(hidden))])
    pooled = layers.GlobalAveragePooling1D()(layers.LayerNormalization(epsilon=1e-6)(tokens))
    model = keras.Model(images, layers.Dense(4)(pooled))
    optimizer = keras.optimizers.AdamW(LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer, loss, metrics=["accuracy"], jit_compile=xla)
    return lambda steps: fit(model, steps, batch)


def plain_torch(batch: int) -> Callable[[int], None]:
    import torch
    from torch import nn

    torch.set_num_threads(CORES)
    s = SHAPE

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            width, hidden = s["width"], s["hidden"]
            self.attention_norm, self.mlp_norm = nn.LayerNorm(width, 1e-6), nn.LayerNorm(width, 1e-6)
            self.query_key_value, self.output = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
            self.dropout = nn.Dropout(s["dropout"])

        def forward(self, tokens):
            split = self.query_key_value(self.attention_norm(tokens)).unflatten(-1, (3, s["heads"], -1))
            query, key, value = split.permute(2, 0, 3, 1, 4)
            gathered = nn.functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
            tokens = tokens + self.dropout(self.output(gathered))
            return tokens + self.dropout(self.mlp(self.mlp_norm(tokens)))

    class Transformer(nn.Module):
        def __init__(self):
            super().__init__()
            self.patches = nn.Conv2d(1, s["width"], s["patch"], stride=s["patch"])
            self.position = nn.Parameter(0.02 * torch.randn(s["patches"], s["width"]))
            self.blocks = nn.Sequential(nn.Dropout(s["dropout"]), *(Block() for _ in range(s["depth"])))
            self.norm, self.head = nn.LayerNorm(s["width"], 1e-6), nn.Linear(s["width"], 4)

        def forward(self, images):
            tokens = self.patches(images[:, None].float() / 255).flatten(2).transpose(1, 2) + self.position
            return self.head(self.norm(self.blocks(tokens)).mean(1))

    model = Transformer()
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)

    def train(steps: int) -> None:
        images, labels = (torch.from_numpy(array) for array in pages_of(steps, batch))
        for part in range(steps):
            chosen = slice(part * batch, (part + 1) * batch)
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(images[chosen]), labels[chosen]).backward()
            optimizer.step()

    return train


CONTENDERS: dict[str, tuple] = {
    "course": (ours, "course"),
    "reference": (ours, "reference"),
    "keras": (plain_keras, False),
    "keras-xla": (plain_keras, True),
    "torch": (plain_torch,),
}


def serve_training(pipe, name: str, batch: int) -> None:
    """In a process of its own: answer each number of steps with the seconds they took, None with the memory in MB."""
    use_cores(CORES)
    make, *which = CONTENDERS[name]
    train = make(*which, batch)
    train(2)
    pipe.send("ready")
    for steps in iter(pipe.recv, None):
        started = time.perf_counter()
        train(steps)
        pipe.send(time.perf_counter() - started)
    pipe.send(peak_mb())


def serve_products(pipe) -> None:
    """In a process of its own: answer each request with the GFLOP/s of the fastest product of float32 matrices."""
    use_cores(CORES)
    from heartai_utils._keras import keras

    matrices = [np.random.default_rng(0).normal(size=(size, size)).astype(np.float32) for size in MATRICES]
    tensors = [keras.ops.convert_to_tensor(matrix) for matrix in matrices]
    pipe.send("ready")
    for repeats in iter(pipe.recv, None):
        best = 0.0
        for matrix in (*matrices, *tensors):  # by NumPy, and by TensorFlow
            for _ in range(repeats):
                started = time.perf_counter()
                keras.ops.convert_to_numpy(matrix @ matrix)  # waits for the result
                best = max(best, 2 * matrix.shape[0] ** 3 / (time.perf_counter() - started) / 1e9)
        pipe.send(best)
    pipe.send(peak_mb())


# --- reading pages ------------------------------------------------------------------------------------------------


def serve_pages(pipe, paths: list[str], cores: int) -> None:
    """In a process of its own: with one core the parts of reading a page, in ms; with more, pages a second."""
    use_cores(cores)
    from heartai_utils import downsampling, page
    from heartai_utils.verdict import PageReader, Verdict

    reader = PageReader()

    def one_by_one() -> dict[str, float]:
        parts = {
            "decoding": lambda path: page.load_page(path, check=False, grey=True),
            "and recognising": lambda path: page.load_page(path, grey=True),
            "and shrinking": lambda path: downsampling.shrink(path, **reader.thumbnail),
            "page": reader.read,
        }
        taken = {name: [] for name in parts}
        for path in paths:
            for name, part in parts.items():
                started = time.perf_counter()
                part(path)
                taken[name].append(1e3 * (time.perf_counter() - started))
        return {name: median(times) for name, times in taken.items()}

    def together() -> float:
        started = time.perf_counter()
        read = sum(isinstance(verdict, Verdict) for verdict in reader.read_all(paths))
        return read / (time.perf_counter() - started)

    measure = one_by_one if cores == 1 else together
    measure()
    pipe.send("ready")
    for _ in iter(pipe.recv, None):
        pipe.send(measure())
    pipe.send(peak_mb())


# --- processes ----------------------------------------------------------------------------------------------------


def use_cores(count: int) -> None:
    """Keep this process, before it starts any thread, to so many of its cores."""
    if hasattr(os, "sched_setaffinity"):  # Linux
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:count])
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        os.environ[name] = str(count)


def peak_mb() -> float:
    """The most memory that this process has held."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


class Child:
    """A process that answers what it is asked, one thing at a time."""

    def __init__(self, target: Callable, *args):
        context = get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=target, args=(other, *args), daemon=True)
        self.process.start()
        other.close()

    def wait(self) -> None:
        try:
            self.pipe.recv()
        except EOFError:
            raise SystemExit("a process of the benchmark ended early: its error stands above") from None

    def ask(self, question):
        self.pipe.send(question)
        return self.pipe.recv()

    def end(self) -> float:
        """Its peak memory in MB."""
        memory = self.ask(None)
        self.process.join()
        return memory


def measure_training(names: list[str], batch: int, rounds: int, seconds: float) -> tuple[dict, dict, float]:
    """Images/s of each in each round, MB of each, and the GFLOP/s of matrix products."""
    children = {name: Child(serve_training, name, batch) for name in names}
    products = Child(serve_products)
    for child in tqdm([*children.values(), products], "making ready", leave=False):
        child.wait()
    steps = {name: min(MOST_STEPS, max(1, round(2 * seconds / child.ask(2)))) for name, child in children.items()}
    speeds, peak = {name: [] for name in names}, 0.0
    for _ in tqdm(range(rounds), "training, in turns", leave=False):
        peak = max(peak, products.ask(3))
        for name, child in children.items():
            speeds[name].append(steps[name] * batch / child.ask(steps[name]))
    products.end()
    return speeds, {name: child.end() for name, child in children.items()}, peak


def measure_pages(count: int, rounds: int) -> tuple[dict[str, float], float]:
    """Milliseconds of the parts of reading one page on one core; pages/s read together on two."""
    from heartai_utils.dataset import simulate_set

    with tempfile.TemporaryDirectory() as folder:
        pages = simulate_set(Path(folder) / "pages", count, seed=0)
        paths = pages["path"].astype(str).tolist()
        one, two = (Child(serve_pages, paths, cores) for cores in (1, CORES))
        one.wait()
        two.wait()
        turns = [(one.ask("read"), two.ask("read")) for _ in tqdm(range(rounds), "reading pages", leave=False)]
        one.end()
        two.end()
    parts, together = zip(*turns, strict=True)
    return {name: median(part[name] for part in parts) for name in parts[0]}, median(together)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds, fewer pages, no XLA")
    parser.add_argument("--rounds", type=int, help="how often each has its turn (7; quick: 3)")
    parser.add_argument("--batch", type=int, default=32, help="images in a step")
    chosen = parser.parse_args()
    rounds = chosen.rounds or (3 if chosen.quick else 7)

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    left_out = {"keras-xla": "left out by --quick"} if chosen.quick else {}
    if find_spec("torch") is None:
        left_out["torch"] = "skipped: PyTorch is not installed"
    names = [name for name in CONTENDERS if name not in left_out]
    speeds, memory, peak = measure_training(names, chosen.batch, rounds, 1.0 if chosen.quick else 2.5)

    from heartai_utils import vit

    plain = [np.array(speeds[name]) for name in ("keras", "keras-xla") if name in names]
    faster = max(plain, key=np.median)
    flops = {name: vit.count_operations(vit.preset(name), training=True) for name in ("course", "reference")}
    gflops = {name: median(speeds[name]) * flops[name] / 1e9 for name in flops}

    def ratio(name: str, other: np.ndarray) -> float:
        return round(float(np.median(np.array(speeds[name]) / other)), 2)

    print(f"training, batch {chosen.batch}, {CORES} cores: images a second (lowest to highest of {rounds} rounds), MB")
    for name in CONTENDERS:
        if name in left_out:
            print(f"  {name:10} {left_out[name]}")
        else:
            here = speeds[name]
            reached = f", {gflops[name]:.0f} of at most {peak:.0f} GFLOP/s" if name in gflops else ""
            print(
                f"  {name:10} {median(here):6.1f} ({min(here):.1f} to {max(here):.1f}), {memory[name]:.0f} MB{reached}"
            )
    parts, together = measure_pages(16 if chosen.quick else 48, rounds)
    print("one page from JPEG to verdict on one core, ms up to and with each part:")
    print("  " + ", ".join(f"{name} {milliseconds:.1f}" for name, milliseconds in parts.items()))
    print(f"pages read together on {CORES} cores: {together:.0f} a second")
    print(
        json.dumps(
            {
                "course_vs_keras": ratio("course", faster),
                "course_vs_torch": ratio("course", np.array(speeds["torch"])) if "torch" in names else None,
                "reference_vs_keras": ratio("reference", faster),
                "page_ms": round(parts["page"], 1),
                "pages_per_second": round(together, 1),
                "gflops": round(gflops["course"], 1),
                "peak_gflops": round(peak, 1),
                "peak_mb": round(memory["course"]),
            }
        )
    )


if __name__ == "__main__":
    main()
