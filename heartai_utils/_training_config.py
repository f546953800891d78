"""The settings of a training run."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from heartai_utils.augmentation import Augmentation
from heartai_utils.vit import PRESETS, ViTConfig

SCHEDULES = ("constant", "cosine")
REPORTS = ("last", "best")


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides a run besides its pages; all that follows ``seed`` is off by default.

    Attributes:
        model: the shape of the Vision Transformer.
        epochs, batch_size: passes over the training pages, pages per step.
        learning_rate: Adam's, at its highest.
        weight_decay: decoupled (AdamW, arXiv:1711.05101): each step multiplies the decayed weights by
            1 − learning_rate · weight_decay before Adam's own step.
        seed: decides initial weights, dropout, the order of the pages and what augmentation does.
        schedule: "constant", or "cosine": from ``learning_rate`` down to 0 along half a cosine (arXiv:1608.03983).
        warmup_epochs: the learning rate first climbs from 0 in a straight line (arXiv:1706.02677); with "cosine".
        label_smoothing: the share of a label's certainty that is spread evenly over all conditions (Szegedy et al.
            2016, arXiv:1512.00567). The losses of pages not trained on are of the labels as they are.
        class_weights: weigh the training pages so that each condition counts alike.
        ema_momentum: judge and keep the exponential moving average of the weights over the steps, with this
            momentum, such as 0.98; training itself goes on from the weights.
        clip_norm: scale the gradient of all weights together down to at most this length.
        augmentation: how pages are changed while training, anew in every epoch.
        patience: stop when the loss of the monitored pages has not become lower for so many epochs.
        report: the epoch that results and model are of: "last", or "best", with the lowest loss on monitored pages.
    """

    model: ViTConfig = field(default_factory=lambda: PRESETS["course"])
    epochs: int = 35
    batch_size: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 1e-4
    seed: int = 0
    schedule: str = "constant"
    warmup_epochs: int = 0
    label_smoothing: float = 0.0
    class_weights: bool = False
    ema_momentum: float | None = None
    clip_norm: float | None = None
    augmentation: Augmentation | None = None
    patience: int | None = None
    report: str = "last"

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(f"epochs={self.epochs}, batch_size={self.batch_size}: both must be at least 1")
        if not 0 < self.learning_rate < float("inf"):
            raise ValueError(f"learning_rate={self.learning_rate}: it must be above 0, such as 0.001")
        if not 0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay={self.weight_decay}: it must be 0 or more, such as 0.05")
        for name, choices in (("schedule", SCHEDULES), ("report", REPORTS)):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name}={getattr(self, name)!r}: use one of {', '.join(choices)}")
        if self.warmup_epochs and self.schedule != "cosine":
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs}: the learning rate climbs only with schedule 'cosine'"
            )
        if not 0 <= self.warmup_epochs < self.epochs:
            raise ValueError(
                f"warmup_epochs={self.warmup_epochs}: use 0 or more, and fewer than the {self.epochs} epochs"
            )
        if not 0 <= self.label_smoothing < 1:
            raise ValueError(f"label_smoothing={self.label_smoothing}: it must be 0 or more and below 1, such as 0.1")
        if self.ema_momentum is not None and not 0 < self.ema_momentum < 1:
            raise ValueError(f"ema_momentum={self.ema_momentum}: it must be between 0 and 1, such as 0.98, or None")
        if self.clip_norm is not None and not 0 < self.clip_norm < float("inf"):
            raise ValueError(f"clip_norm={self.clip_norm}: it must be above 0, such as 1, or None")
        if self.patience is not None and self.patience < 1:
            raise ValueError(f"patience={self.patience}: it must be at least 1 epoch, or None")

    @property
    def needs_monitor(self) -> bool:
        """Whether an epoch is chosen, for which pages are needed that neither train nor score."""
        return self.patience is not None or self.report == "best"

    def to_record(self) -> dict[str, Any]:
        """All settings as plain values, for JSON."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> TrainingConfig:
        """The settings from `to_record`; those that an older record does not know are at their defaults.

        Raises:
            TypeError, ValueError: for a setting that there is not, or that makes no sense.
        """
        settings = dict(record)
        for name, kind in (("model", ViTConfig), ("augmentation", Augmentation)):
            if settings.get(name) is not None:
                settings[name] = kind(**settings[name])
        return cls(**settings)
