"""The Vision Transformer of the course, from a thumbnail of the page to four logits.

    thumbnail (182, 256) -> ink -> 22 x 32 patches of 8 x 8 -> tokens -> blocks of attention and MLP -> mean -> logits

After Dosovitskiy et al. 2020, "An Image is Worth 16x16 Words" (arXiv:2010.11929), with decisions of our own:

* 182 / 8 = 22.75. The six leftover rows are the footer with its printed heart rate, and are *dropped*
  (``leftover="drop"``, 704 patches); ``leftover="pad"`` adds two rows of paper instead (736 patches).
* Most of a page is blank. With ``tokens=K`` only the K patches with the most ink become tokens, and none from the
  header. K is fixed, so shapes stay static; attention costs K² instead of 704².
* With a ``stem`` the patches are not cut from the page but from what a few small convolutions make of it. Patches that
  fit the page, a quarter of its height tall and narrow, are each of one lead (preset "best").
* With ``patch_dropout`` a step of training sees only a random part of a page's tokens: it costs less, and no page looks
  twice the same (Liu et al. 2022, arXiv:2208.07220; Li et al. 2022, arXiv:2212.00794).
* The tokens are averaged instead of read from a class token (Beyer et al. 2022, arXiv:2205.01580).

It is written with ``keras.ops`` alone and runs on every Keras backend.
"""

from __future__ import annotations

from dataclasses import asdict

from heartai_utils._keras import keras
from heartai_utils._vit_config import CROPS, PRESETS, ViTConfig, count_operations, count_parameters, preset

__all__ = [
    "CROPS", "PRESETS", "Block", "ConvolutionalStem", "Patches", "SelfAttention", "TokenEmbedding", "ViTConfig",
    "VisionTransformer", "build_vit", "count_operations", "count_parameters", "inkiest", "load_vit", "preset",
    "rows_at", "some_places", "to_ink", "to_patches",
]  # fmt: skip

layers, ops = keras.layers, keras.ops
register = keras.saving.register_keras_serializable(package="heartai")


def to_ink(images, dtype: str = "float32"):
    """Grey of any number type, 0 black to 255 white, as ink: 0 is paper, 1 is black."""
    return 1.0 - ops.cast(images, dtype) / 255.0


def to_patches(picture, tall: int, wide: int):
    """Cut (batch, height, width, channels) into (batch, patches, tall · wide · channels), row by row.

    What fills no whole patch, below and on the right, is left out.
    """
    channels = picture.shape[3]
    rows, columns = picture.shape[1] // tall, picture.shape[2] // wide
    picture = picture[:, : rows * tall, : columns * wide]
    picture = ops.reshape(picture, (-1, rows, tall, columns, wide, channels))
    picture = ops.transpose(picture, (0, 1, 3, 2, 4, 5))
    return ops.reshape(picture, (-1, rows * columns, tall * wide * channels))


@register
class Patches(layers.Layer):
    """Turn thumbnails into ink and cut them into patches.

    Args:
        patch_size: side of a patch in pixels, or its height and width.
        leftover: "drop" or "pad": what becomes of pixels that fill no whole patch.

    Args of the call:
        images: (batch, height, width) grey, 0 black to 255 white, any number type.

    Returns:
        (batch, patches, pixels of a patch) float: 0 is paper, 1 is black ink; patches in reading order, row by row.
    """

    def __init__(self, patch_size: int | tuple[int, int] = 8, leftover: str = "drop", **kwargs):
        super().__init__(**kwargs)
        self.patch_size, self.leftover = patch_size, leftover

    def call(self, images):
        tall, wide = self.patch_size if isinstance(self.patch_size, tuple) else (self.patch_size, self.patch_size)
        ink = to_ink(images, self.compute_dtype)
        height, width = ink.shape[1:3]
        if self.leftover == "pad":
            ink = ops.pad(ink, [[0, 0], [0, -height % tall], [0, -width % wide]])
        return to_patches(ink[..., None], tall, wide)


@register
class ConvolutionalStem(layers.Layer):
    """Convolutions, each normalised over its channels and rectified, and patches cut from the last one.

    The same stroke looks the same to it wherever on the page it is, which a projection of patches has to learn for
    each place. Normalised pixel by pixel, as the blocks do with tokens, it does the same in training and inference.

    Args:
        channels: of each convolution; the first looks at 7 × 7 pixels with stride 4, the others at 3 × 3 with stride 2.
        patch_shape: height and width of a patch in pixels of the image.

    Args of the call:
        images: (batch, height, width) grey, 0 black to 255 white, any number type.

    Returns:
        (batch, patches, numbers), patches in reading order.
    """

    def __init__(self, channels: tuple[int, ...], patch_shape: tuple[int, int], seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.patch_shape = tuple(side // 2 ** (len(channels) + 1) for side in patch_shape)
        self.convolutions = [
            layers.Conv2D(
                count, *((3, 2) if number else (7, 4)), padding="same", use_bias=False,
                name=f"convolution_{number + 1}",
                kernel_initializer=keras.initializers.GlorotUniform(seed=_spread(seed, number)),
            )
            for number, count in enumerate(channels)
        ]  # fmt: skip
        self.norms = [layers.LayerNormalization(epsilon=1e-6, name=f"norm_{i + 1}") for i in range(len(channels))]

    def build(self, shape):
        shape = (*shape, 1)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            convolution.build(shape)
            shape = convolution.compute_output_shape(shape)
            norm.build(shape)

    def call(self, images):
        picture = to_ink(images, self.compute_dtype)[..., None]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            picture = ops.relu(norm(convolution(picture)))
        return to_patches(picture, *self.patch_shape)


def inkiest(patches, count: int, first: int = 0):
    """Positions of the patches with most ink, in reading order.

    The darkness is squared, so that the dark trace counts for more than what is left of the grid, on all patches alike.

    Args:
        patches: (batch, patches, pixels) ink.
        count: how many to keep.
        first: patches before this position (the header) are never kept.

    Returns:
        (batch, count) integer positions, ascending.
    """
    amount = ops.sum(ops.square(patches[:, first:]), axis=-1)
    return ops.sort(ops.top_k(amount, count)[1], axis=-1) + first


def some_places(pages, count: int, keep: int, seed):
    """For each page ``keep`` of the numbers 0 … count − 1, drawn without repetition: (pages, keep), ascending."""
    return ops.sort(ops.top_k(keras.random.uniform((pages, count), seed=seed), keep)[1], axis=-1)


def rows_at(values, positions):
    """The rows of each page at its own positions: (batch, rows, width), (batch, kept) -> (batch, kept, width).

    All pages are laid below each other and whole rows taken; ``ops.take_along_axis`` would fetch number by number.
    """
    pages, (count, width) = ops.shape(values)[0], values.shape[1:]
    above = ops.arange(pages, dtype=positions.dtype)[:, None] * count
    return ops.take(ops.reshape(values, (-1, width)), above + positions, axis=0)


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
        self.project = _dense(width, seed, name="projection")

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
            place = rows_at(place, positions)
        return self.project(patches) + place


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
        self.query_key_value = _dense(3 * width, self.seed, name="query_key_value")
        self.output_projection = _dense(width, self.seed + 1, name="output")
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
        self.expand = _dense(hidden, self.seed + 3, name="expand", activation="gelu")
        self.contract = _dense(width, self.seed + 4, name="contract")
        for layer in (self.attention_norm, self.attention, self.mlp_norm, self.expand):
            layer.build(shape)
        self.contract.build((*shape[:-1], hidden))

    def call(self, tokens, training=None):
        gathered, weights = self.attention(self.attention_norm(tokens))
        tokens = tokens + self.dropout(gathered, training=training)
        thought = self.contract(self.expand(self.mlp_norm(tokens)))
        return tokens + self.dropout(thought, training=training), weights


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
        config = config or PRESETS["course"]
        self.config = config if isinstance(config, ViTConfig) else ViTConfig(**config)
        self.seed = seed
        c = self.config
        rows, columns = c.grid
        # in float32 under every dtype policy: half precision would not tell which of two patches has more ink
        self.patches = Patches(c.patch_size, c.leftover, dtype="float32", name="patches")
        self.stem = None
        if c.stem:
            self.stem = ConvolutionalStem(c.stem, c.patch_shape, seed=_spread(seed, 97), name="stem")
        self.places_seed = keras.random.SeedGenerator(_spread(seed, 98)) if c.patch_dropout else None
        self.embedding = TokenEmbedding(rows * columns, c.width, seed=_spread(seed, 0), name="embedding")
        self.dropout = layers.Dropout(c.dropout, seed=_spread(seed, 1))
        self.blocks = [
            Block(c.heads, c.mlp_ratio, c.dropout, seed=_spread(seed, 2 + i), name=f"block_{i + 1}")
            for i in range(c.depth)
        ]
        self.norm = layers.LayerNormalization(epsilon=1e-6, name="norm")
        self.head = _dense(c.classes, _spread(seed, 99), name="head")

    def build(self, shape=None):
        c = self.config
        count = c.sequence_length
        if self.stem:
            self.stem.build((None, c.height, c.width_px))
        self.embedding.build((None, count, c.patch_values))
        for block in self.blocks:
            block.build((None, count, c.width))
        self.norm.build((None, count, c.width))
        self.head.build((None, c.width))
        self.built = True

    def call(self, images, training=None, return_intermediates: bool = False):
        c = self.config
        patches = self.patches(images)
        positions = None
        if c.tokens is not None:
            positions = inkiest(patches, c.tokens, first=c.header_rows * c.grid[1])
        if training and c.patch_dropout:
            places = some_places(ops.shape(patches)[0], c.sequence_length, c.training_tokens, self.places_seed)
            positions = places if positions is None else ops.take_along_axis(positions, places, axis=1)
        features = self.stem(images) if self.stem else patches
        kept = features if positions is None else rows_at(features, positions)
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


def load_vit(path) -> VisionTransformer:
    """Load a model saved with ``model.save("….keras")``, in Keras's safe mode.

    Raises:
        ValueError: there is no such file, or it is no Keras model.
    """
    return keras.saving.load_model(path, compile=False, safe_mode=True)


def _dense(units: int, seed: int, **kwargs) -> layers.Dense:
    return layers.Dense(units, kernel_initializer=keras.initializers.GlorotUniform(seed=seed), **kwargs)


def _spread(seed: int, part: int) -> int:
    """A seed of its own for each part of the model, so that no two layers start with the same numbers."""
    return (seed * 1000 + part) * 10
