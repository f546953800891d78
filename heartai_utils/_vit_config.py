"""The shape of a Vision Transformer: its configuration, presets, and what they cost. Public as `heartai_utils.vit`."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class ViTConfig:
    """What decides the shape of a :class:`VisionTransformer`.

    Attributes:
        height, width_px: the thumbnail, in pixels.
        patch_size: side of a square patch, in pixels, or its height and width.
        leftover: "drop" or "pad": what becomes of rows that fill no whole patch.
        header_rows: rows of patches, from the top, never kept by ``tokens`` (on a whole page the frame starts in
            the fifth row, so four rows are header; 0 for pages cropped to the grid).
        tokens: how many of the patches become tokens, those with most ink; None keeps all.
        stem: channels of convolutions before the patches are cut, the first of stride 4 and the others of stride 2;
            patches are then of fewer, richer pixels. None by default. It makes small transformers learn from fewer
            pictures (Xiao et al. 2021, arXiv:2106.14881; Hassani et al. 2021, arXiv:2104.05704).
        width: numbers per token; a multiple of ``heads``, so that width = heads × head size.
        heads, depth: attention heads per block, blocks.
        mlp_ratio: hidden width of the MLP over ``width``.
        dropout: rate on what enters and what each attention and MLP adds, while training. Not on the attention
            weights: drawing 704² random numbers per head would cost as much as the attention itself.
        patch_dropout: share of the tokens left out at random, page by page, while training. Nothing is left out, nor
            scaled, in inference.
        classes: number of logits.
    """

    height: int = 182
    width_px: int = 256
    patch_size: int | tuple[int, int] = 8
    leftover: str = "drop"
    header_rows: int = 4
    tokens: int | None = None
    stem: tuple[int, ...] = ()
    width: int = 64
    heads: int = 4
    depth: int = 4
    mlp_ratio: float = 2.0
    dropout: float = 0.1
    patch_dropout: float = 0.0
    classes: int = 4

    def __post_init__(self) -> None:
        if self.leftover not in ("drop", "pad"):
            raise ValueError(f"leftover={self.leftover!r}: use 'drop' or 'pad'")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} is no multiple of {self.heads} heads")
        for name in ("patch_size", "stem"):  # JSON knows lists alone
            if isinstance(getattr(self, name), list):
                object.__setattr__(self, name, tuple(getattr(self, name)))
        tall, wide = self.patch_shape
        if self.height < tall or self.width_px < wide:
            raise ValueError(f"a {self.height} × {self.width_px} image holds no patch of {tall} × {wide}")
        stride = self.stem_stride
        if self.stem and (self.leftover == "pad" or any(side % stride for side in (*self.image_size, tall, wide))):
            raise ValueError(
                f"the stem makes one pixel of {stride} × {stride}: let image and patches be multiples of {stride}, "
                f"not {self.height} × {self.width_px} and {tall} × {wide}, and leftover='drop'"
            )
        rows, columns = self.grid
        candidates = (rows - self.header_rows) * columns
        if self.tokens is not None and not 1 <= self.tokens <= candidates:
            raise ValueError(f"tokens={self.tokens}: use 1 to {candidates}, or None for all {rows * columns} patches")
        if not 0 <= self.patch_dropout < 1:
            raise ValueError(f"patch_dropout={self.patch_dropout}: use 0 (leave nothing out) up to, not including, 1")

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the thumbnails, as `downsampling.shrink` takes them."""
        return self.width_px, self.height

    @property
    def patch_shape(self) -> tuple[int, int]:
        """Height and width of a patch, in pixels of the thumbnail."""
        return self.patch_size if isinstance(self.patch_size, tuple) else (self.patch_size, self.patch_size)

    @property
    def stem_stride(self) -> int:
        """Pixels of the thumbnail, along each side, of which the stem makes one: 1 without a stem."""
        return 2 ** (len(self.stem) + 1) if self.stem else 1

    @property
    def patch_values(self) -> int:
        """Numbers that a patch consists of: its pixels, or what the stem makes of them."""
        tall, wide = self.patch_shape
        return tall * wide * (self.stem[-1] if self.stem else 1) // self.stem_stride**2

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of patches: (22, 32) for the course's thumbnails."""
        tall, wide = self.patch_shape
        if self.leftover == "pad":
            return -(-self.height // tall), -(-self.width_px // wide)
        return self.height // tall, self.width_px // wide

    @property
    def sequence_length(self) -> int:
        """Tokens that attention sees, in inference."""
        return self.tokens or self.grid[0] * self.grid[1]

    @property
    def training_tokens(self) -> int:
        """Tokens that attention sees while training: those that ``patch_dropout`` leaves, at least one."""
        return max(1, round(self.sequence_length * (1 - self.patch_dropout)))


PRESETS = {
    # for tests and for quick chapters: seconds
    "testing": ViTConfig(tokens=128, width=32, heads=2, depth=2),
    # the course's own: minutes on two cores
    "course": ViTConfig(tokens=192),
    # every patch a token, as in the literature: the model to compare with
    "reference": ViTConfig(),
    # the traces alone, at nearly twice the resolution; a token is a third of a second of one lead
    "best": ViTConfig(288, 480, patch_size=(72, 16), header_rows=0, stem=(24, 48)),
}

CROPS = {"best": "traces"}
"""The part of the page (`downsampling.CROPS`) that a preset's thumbnails show, if it is not the whole page."""


def preset(name: str, **changes) -> ViTConfig:
    """A named configuration, with fields changed by keyword.

    Raises:
        ValueError: unknown name; the message lists the names.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}: use one of {', '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)


def count_parameters(config: ViTConfig) -> int:
    """Trainable parameters by formula; the model's own ``count_params()`` must agree.

    With width D, hidden width H, P patches of p numbers and L blocks: embedding p·D + D + P·D; each block
    3D² + 3D (queries, keys, values) + D² + D (output) + 2DH + H + D (MLP) + 4D (two normalisations); then 2D for the
    last normalisation and D·classes + classes for the head. Each convolution of a stem has 9 weights (the first 49) for
    each pair of channels, in and out, and two for the normalisation of each channel.
    """
    rows, columns = config.grid
    width, hidden = config.width, int(config.width * config.mlp_ratio)
    inputs = (1, *config.stem)
    stem = sum((9 if i else 49) * inputs[i] * count + 2 * count for i, count in enumerate(config.stem))
    embedding = config.patch_values * width + width + rows * columns * width
    block = 4 * width**2 + 4 * width + 2 * width * hidden + hidden + width + 4 * width
    head = 2 * width + width * config.classes + config.classes
    return stem + embedding + config.depth * block + head


def count_operations(config: ViTConfig, training: bool = False) -> int:
    """Floating-point operations of the matrix products for one page; a multiplication and an addition are two.

    With N tokens, width D, hidden width H, patches of p numbers and L blocks: embedding 2NpD; each block 8ND² (queries,
    keys, values, output) + 4N²D (scores and gathering, all heads together) + 4NDH (MLP); head 2D·classes.

    Args:
        training: count a step of training: the tokens that ``patch_dropout`` leaves, and three times the products,
            as the gradient of a product is two more; the pixels alone need none.
    """
    tokens = config.training_tokens if training else config.sequence_length
    width, hidden = config.width, int(config.width * config.mlp_ratio)
    inputs, pixels = (1, *config.stem), config.height * config.width_px
    stem = [2 * (9 if i else 49) * inputs[i] * count * pixels // 4 ** (i + 2) for i, count in enumerate(config.stem)]
    embedding = 2 * tokens * config.patch_values * width
    block = 8 * tokens * width**2 + 4 * tokens**2 * width + 4 * tokens * width * hidden
    forward = sum(stem) + embedding + config.depth * block + 2 * width * config.classes
    first = stem[0] if stem else embedding
    return 3 * forward - first if training else forward
