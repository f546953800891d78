"""What decides the runs of an ablation: a trial, and the grid of them. Public as `heartai_utils.ablation`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from itertools import product

from heartai_utils import downsampling, splits
from heartai_utils._training_config import TrainingConfig
from heartai_utils.vit import PRESETS, ViTConfig, preset


class AblationError(ValueError):
    """An ablation that cannot be done as asked; the message says why and what to do."""


@dataclass(frozen=True)
class Trial:
    """What decides one run, besides the catalogue.

    Attributes:
        config: of the training.
        split, split_seed, validation: how, from which seed and for which share pages are held out, see `splits.split`.
        monitor: the share of the training pages to choose an epoch by, see `training.load_data`.
        method, crop: how pages are shrunk, see `downsampling.load_thumbnails`.
    """

    config: TrainingConfig = field(default_factory=TrainingConfig)
    split: str = "grouped"
    split_seed: int = 0
    validation: float = 0.2
    monitor: float = 0.0
    method: str = downsampling.OWN
    crop: str | None = None

    def __post_init__(self) -> None:
        if self.split not in splits.HOWS:
            raise AblationError(f"split={self.split!r}: use one of {', '.join(splits.HOWS)}")
        if not 0 < self.validation < 1:
            raise AblationError(f"validation={self.validation}: give a share between 0 and 1, such as 0.2")
        if not 0 <= self.monitor < 1:
            raise AblationError(f"monitor={self.monitor}: give a share below 1, such as 0.15, or 0 for none")
        if self.config.needs_monitor and not self.monitor:
            raise AblationError("patience and report='best' choose an epoch: hold pages back for it, monitor=0.15")

    def with_settings(self, **settings) -> Trial:
        """This trial with some fields of it or of its configuration changed, and the model by name as ``preset``.

        Raises:
            ValueError: no such setting, or it makes no sense.
        """
        own, training_s = ({f.name for f in fields(kind)} for kind in (Trial, TrainingConfig))
        unknown = settings.keys() - own - training_s - {"preset"}
        if unknown:
            raise AblationError(
                f"no setting {min(unknown)!r}: use one of {', '.join(sorted(own | training_s))}, preset"
            )
        trial = replace(self, **{name: settings[name] for name in settings.keys() & own})
        config = replace(trial.config, **{name: settings[name] for name in settings.keys() & training_s})
        if "preset" in settings:
            config = replace(config, model=preset(settings["preset"]))
        if trial.crop:
            config = replace(config, model=replace(config.model, header_rows=0))
        return replace(trial, config=config)

    def to_row(self) -> dict[str, object]:
        """All settings as numbers and words, for a table."""
        own = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "config"}
        settings = self.config.to_record()
        model, augmentation = settings.pop("model"), settings.pop("augmentation")
        bare = replace(self.config.model, header_rows=ViTConfig.header_rows) if self.crop else self.config.model
        names = [name for name, known in PRESETS.items() if known == bare]
        own |= {"crop": self.crop or "no", "preset": names[0] if names else json.dumps(model)}
        return own | settings | {"augmentation": json.dumps(augmentation) if augmentation else "no"}


SETTINGS = tuple(name for name in Trial().to_row() if name not in ("seed", "split_seed"))


def grid(seeds: int | Iterable[int], base: Trial | None = None, **axes: Iterable) -> list[Trial]:
    """All combinations of some settings, with each of some seeds.

    Args:
        seeds: of splits and runs, or how many, from 0 on. Outermost, so that an unfinished ablation has all settings
            of the first seeds.
        base: what all have in common.
        axes: values by the name of a field of `Trial` or `TrainingConfig`, or of models as ``preset``; the last one
            changes fastest.

    Raises:
        ValueError: no such setting, a value that makes no sense, or no values.
    """
    base = base or Trial()
    seeds = range(seeds) if isinstance(seeds, int) else seeds
    chosen = [dict(zip(axes, values, strict=True)) for values in product(*axes.values())]
    trials = [base.with_settings(**{"seed": s, "split_seed": s} | settings) for s in seeds for settings in chosen]
    if not trials:
        raise AblationError("no trials: give at least one seed, and one value for each setting")
    return list(dict.fromkeys(trials))
