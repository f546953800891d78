"""The Vision Transformer of the course, from a thumbnail of the page to four logits.

    thumbnail (182, 256) -> ink -> 22 x 32 patches of 8 x 8 -> tokens -> blocks of attention and MLP -> mean -> logits

After Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words" (arXiv:2010.11929), with three decisions of our own:

* 182 / 8 = 22.75. The six leftover rows are the footer with its printed heart rate, and are *dropped*
  (``leftover="drop"``, 704 patches); ``leftover="pad"`` adds two rows of paper instead (736 patches).
* Most of a page is blank. With ``tokens=K`` only the K patches with the most ink become tokens, and none from the
  header. K is fixed, so shapes stay static; attention costs K² instead of 704².
* The tokens are averaged instead of read from a class token (Beyer et al. 2022, arXiv:2205.01580).

It is written with ``keras.ops`` alone and runs on every Keras backend.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from heartai_utils._keras import keras

layers, ops = keras.layers, keras.ops
register = keras.saving.register_keras_serializable(package="heartai")


@dataclass(frozen=True)
class ViTConfig:
    """What decides the shape of a :class:`VisionTransformer`.

    Attributes:
        height, width_px: the thumbnail, in pixels.
        patch_size: side of a square patch, in pixels.
        leftover: "drop" or "pad": what becomes of rows that fill no whole patch.
        header_rows: rows of patches, from the top, never kept by ``tokens`` (on a whole page the frame starts in
            the fifth row, so four rows are header; 0 for pages cropped to the grid).
        tokens: how many of the patches become tokens, those with most ink; None keeps all.
        width: numbers per token; a multiple of ``heads``, so that width = heads × head size.
        heads, depth: attention heads per block, blocks.
        mlp_ratio: hidden width of the MLP over ``width``.
        dropout: rate on what enters and what each attention and MLP adds, while training. Not on the attention
            weights: drawing 704² random numbers per head would cost as much as the attention itself.
        classes: number of logits.
    """

    height: int = 182
    width_px: int = 256
    patch_size: int = 8
    leftover: str = "drop"
    header_rows: int = 4
    tokens: int | None = None
    width: int = 64
    heads: int = 4
    depth: int = 4
    mlp_ratio: float = 2.0
    dropout: float = 0.1
    classes: int = 4

    def __post_init__(self) -> None:
        if self.leftover not in ("drop", "pad"):
            raise ValueError(f"leftover={self.leftover!r}: use 'drop' or 'pad'")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of {self.heads} heads")
        if min(self.height, self.width_px) < self.patch_size:
            raise ValueError(
                f"a {self.height} × {self.width_px} image holds no patch of {self.patch_size} × {self.patch_size}"
            )
        rows, columns = self.grid
        candidates = (rows - self.header_rows) * columns
        if self.tokens is not None and not 1 <= self.tokens <= candidates:
            raise ValueError(f"tokens={self.tokens}: use 1 to {candidates}, or None for all {rows * columns} patches")

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches: (22, 32) for the course's thumbnails."""
        round_up = self.patch_size - 1 if self.leftover == "pad" else 0
        return (self.height + round_up) // self.patch_size, (self.width_px + round_up) // self.patch_size

    @property
    def sequence_length(self) -> int:
        """Tokens that attention sees."""
        return self.tokens or self.grid[0] * self.grid[1]


PRESETS = {
    # for tests and for quick chapters: seconds
    "testing": ViTConfig(tokens=128, width=32, heads=2, depth=2),
    # the course's own: minutes on two cores
    "course": ViTConfig(tokens=192),
    # every patch a token, as in the literature: the model to compare with
    "reference": ViTConfig(),
}


def preset(name: str, **changes) -> ViTConfig:
    """A named configuration, with fields changed by keyword.

    Raises:
        ValueError: unknown name; the message lists the names.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}: use one of {', '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)


@register
class Patches(layers.Layer):
    """Turn thumbnails into ink and cut them into patches.

    Args:
        images: (batch, height, width) grey, 0 black to 255 white, any number type.

    Returns:
        (batch, patches, patch_size²) float: 0 is paper, 1 is black ink; patches in reading order, row by row.
    """

    def __init__(self, patch_size: int = 8, leftover: str = "drop", **kwargs):
        super().__init__(**kwargs)
        self.patch_size, self.leftover = patch_size, leftover

    def call(self, images):
        side = self.patch_size
        ink = 1.0 - ops.cast(images, self.compute_dtype) / 255.0
        height, width = ink.shape[1:3]
        if self.leftover == "pad":
            ink = ops.pad(ink, [[0, 0], [0, -height % side], [0, -width % side]])
        rows, columns = ink.shape[1] // side, ink.shape[2] // side
        ink = ink[:, : rows * side, : columns * side]
        ink = ops.reshape(ink, (-1, rows, side, columns, side))
        ink = ops.transpose(ink, (0, 1, 3, 2, 4))
        return ops.reshape(ink, (-1, rows * columns, side * side))

    def get_config(self):
        return super().get_config() | {"patch_size": self.patch_size, "leftover": self.leftover}


def inkiest(patches, count: int, first: int = 0):
    """Positions of the patches with most ink, in reading order.

    The darkness is squared, so that the black trace counts for more than the grid's dots, which lie on all patches.

    Args:
        patches: (batch, patches, pixels) ink.
        count: how many to keep.
        first: patches before this position (the header) are never kept.

    Returns:
        (batch, count) integer positions, ascending.
    """
    amount = ops.sum(ops.square(patches[:, first:]), axis=-1)
    return ops.sort(ops.top_k(amount, count)[1], axis=-1) + first


@register
class TokenEmbedding(layers.Layer):
    """Project each patch to a token and add the embedding of its position on the page.

    Args of the call:
        patches: (batch, tokens, pixels).
        positions: (batch, tokens) integer places among all patches, or None where none was left out.
    """

    def __init__(self, patches: int, width: int, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.patches, self.width, self.seed = patches, width, seed
        self.project = layers.Dense(width, kernel_initializer=_initializer(seed), name="projection")

    def build(self, shape):
        self.project.build(shape)
        self.position = self.add_weight(
            shape=(self.patches, self.width),
            initializer=keras.initializers.RandomNormal(stddev=0.02, seed=self.seed + 1),
            name="position_embedding",
        )

    def call(self, patches, positions=None):
        place = self.position[None]
        if positions is not None:
            # A table for each page, and not one gather for all: on several threads the gradients of a gather that
            # names a place twice are added in any order, and two runs with one seed would differ in the last digits.
            place = ops.broadcast_to(place, (ops.shape(patches)[0], self.patches, self.width))
            place = ops.take_along_axis(place, positions[..., None], axis=1)
        return self.project(patches) + place

    def get_config(self):
        return super().get_config() | {"patches": self.patches, "width": self.width, "seed": self.seed}


@register
class SelfAttention(layers.Layer):
    """Multi-head self-attention: each token gathers from all tokens what its queries match.

    Per head: softmax(Q Kᵀ / √d) V (Vaswani et al. 2017, arXiv:1706.03762); the heads side by side are the width.

    Returns:
        the tokens (batch, tokens, width) and the attention weights (batch, heads, tokens, tokens), whose rows sum to 1.
    """

    def __init__(self, heads: int, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.seed = heads, seed

    def build(self, shape):
        width = shape[-1]
        self.query_key_value = layers.Dense(
            3 * width, kernel_initializer=_initializer(self.seed), name="query_key_value"
        )
        self.output_projection = layers.Dense(width, kernel_initializer=_initializer(self.seed + 1), name="output")
        self.query_key_value.build(shape)
        self.output_projection.build(shape)

    def call(self, tokens):
        count, width = tokens.shape[1:]
        size = width // self.heads
        mixed = ops.reshape(self.query_key_value(tokens), (-1, count, 3, self.heads, size))
        query, key, value = ops.unstack(ops.transpose(mixed, (2, 0, 3, 1, 4)), 3)  # each (batch, heads, tokens, size)
        scores = ops.matmul(query * size**-0.5, ops.transpose(key, (0, 1, 3, 2)))
        weights = ops.softmax(scores, axis=-1)
        gathered = ops.transpose(ops.matmul(weights, value), (0, 2, 1, 3))
        gathered = ops.reshape(gathered, (-1, count, width))
        return self.output_projection(gathered), weights

    def get_config(self):
        return super().get_config() | {"heads": self.heads, "seed": self.seed}


@register
class Block(layers.Layer):
    """One transformer block: attention, then an MLP, each on normalised tokens and added to what came in.

    Returns:
        the tokens (batch, tokens, width) and the block's attention weights (batch, heads, tokens, tokens).
    """

    def __init__(self, heads: int, mlp_ratio: float = 2.0, dropout: float = 0.0, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.mlp_ratio, self.rate, self.seed = heads, mlp_ratio, dropout, seed
        self.attention_norm = layers.LayerNormalization(epsilon=1e-6, name="attention_norm")
        self.attention = SelfAttention(heads, seed, name="attention")
        self.mlp_norm = layers.LayerNormalization(epsilon=1e-6, name="mlp_norm")
        self.dropout = layers.Dropout(dropout, seed=seed + 2)

    def build(self, shape):
        width = shape[-1]
        hidden = int(width * self.mlp_ratio)
        self.expand = layers.Dense(
            hidden, activation="gelu", kernel_initializer=_initializer(self.seed + 3), name="expand"
        )
        self.contract = layers.Dense(width, kernel_initializer=_initializer(self.seed + 4), name="contract")
        for layer in (self.attention_norm, self.attention, self.mlp_norm, self.expand):
            layer.build(shape)
        self.contract.build((*shape[:-1], hidden))

    def call(self, tokens, training=None):
        gathered, weights = self.attention(self.attention_norm(tokens))
        tokens = tokens + self.dropout(gathered, training=training)
        thought = self.contract(self.expand(self.mlp_norm(tokens)))
        return tokens + self.dropout(thought, training=training), weights

    def get_config(self):
        return super().get_config() | {
            "heads": self.heads,
            "mlp_ratio": self.mlp_ratio,
            "dropout": self.rate,
            "seed": self.seed,
        }


@register
class VisionTransformer(keras.Model):
    """Thumbnails of ECG pages in, four logits each out.

    Args:
        config: the shape of the model, a :class:`ViTConfig` or the dictionary of its fields.
        seed: decides the initial weights and the dropout; the same seed gives the same model.

    Call:
        images: (batch, height, width_px) grey, 0 black to 255 white.
        return_intermediates: also hand back, by name, the values on the way: ``patches``, ``positions`` (of the
            tokens among the patches), ``tokens`` (after the embedding), ``block_1`` …, ``attention_1`` …, ``pooled``.

    Returns:
        logits (batch, classes), and the intermediate values if asked for.
    """

    def __init__(self, config: ViTConfig | dict | None = None, seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        if config is None:
            config = PRESETS["course"]
        self.config = config if isinstance(config, ViTConfig) else ViTConfig(**config)
        self.seed = seed
        c = self.config
        rows, columns = c.grid
        self.patches = Patches(c.patch_size, c.leftover, name="patches")
        self.embedding = TokenEmbedding(rows * columns, c.width, seed=_spread(seed, 0), name="embedding")
        self.dropout = layers.Dropout(c.dropout, seed=_spread(seed, 1))
        self.blocks = [
            Block(c.heads, c.mlp_ratio, c.dropout, seed=_spread(seed, 2 + i), name=f"block_{i + 1}")
            for i in range(c.depth)
        ]
        self.norm = layers.LayerNormalization(epsilon=1e-6, name="norm")
        self.head = layers.Dense(c.classes, kernel_initializer=_initializer(_spread(seed, 99)), name="head")

    def build(self, shape=None):
        c = self.config
        count, pixels = c.sequence_length, c.patch_size**2
        self.embedding.build((None, count, pixels))
        for block in self.blocks:
            block.build((None, count, c.width))
        self.norm.build((None, count, c.width))
        self.head.build((None, c.width))
        self.built = True

    def call(self, images, training=None, return_intermediates: bool = False):
        c = self.config
        patches = self.patches(images)
        positions = None
        kept = patches
        if c.tokens is not None:
            positions = inkiest(patches, c.tokens, first=c.header_rows * c.grid[1])
            kept = ops.take_along_axis(patches, positions[..., None], axis=1)
        tokens = self.dropout(self.embedding(kept, positions), training=training)
        values = {"patches": patches, "positions": positions, "tokens": tokens}
        for number, block in enumerate(self.blocks, start=1):
            tokens, weights = block(tokens, training=training)
            values[f"block_{number}"], values[f"attention_{number}"] = tokens, weights
        values["pooled"] = ops.mean(self.norm(tokens), axis=1)
        logits = self.head(values["pooled"])
        return (logits, values) if return_intermediates else logits

    def get_config(self):
        return super().get_config() | {"config": asdict(self.config), "seed": self.seed}


def build_vit(config: ViTConfig | str = "course", seed: int = 0) -> VisionTransformer:
    """A Vision Transformer with its initial weights made, from a configuration or the name of a preset."""
    model = VisionTransformer(preset(config) if isinstance(config, str) else config, seed=seed)
    model.build()
    return model


def count_parameters(config: ViTConfig) -> int:
    """Trainable parameters by formula; the model's own ``count_params()`` must agree.

    With width D, hidden width H, P patches of p pixels and L blocks: embedding p·D + D + P·D; each block
    3D² + 3D (queries, keys, values) + D² + D (output) + 2DH + H + D (MLP) + 4D (two normalisations); then 2D for the
    last normalisation and D·classes + classes for the head.
    """
    rows, columns = config.grid
    width, hidden = config.width, int(config.width * config.mlp_ratio)
    embedding = config.patch_size**2 * width + width + rows * columns * width
    block = 4 * width**2 + 4 * width + 2 * width * hidden + hidden + width + 4 * width
    head = 2 * width + width * config.classes + config.classes
    return embedding + config.depth * block + head


def load_vit(path) -> VisionTransformer:
    """Load a model saved with ``model.save("….keras")``, in Keras's safe mode.

    Raises:
        ValueError: there is no such file, or it is no Keras model.
    """
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _initializer(seed: int):
    return keras.initializers.GlorotUniform(seed=seed)


def _spread(seed: int, part: int) -> int:
    """A seed of its own for each part of the model, so that no two layers start with the same numbers."""
    return (seed * 1000 + part) * 10
