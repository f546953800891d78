"""The command line: ``heartai check | simulate | download | audit | shrink | train | ablate | predict | course | app``.

Commands hold no logic: they read their arguments, call the package and print. What is imported inside a command is
imported there because Keras takes seconds that `heartai --help` need not wait for.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from heartai_utils import __version__

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Heart AI: a course on reading pictures of ECGs. For teaching; not a medical device.",
)
console = Console(highlight=False, soft_wrap=True, emoji=False)
errors = Console(stderr=True, highlight=False, soft_wrap=True, emoji=False)
REFUSED = "refused"  # what became of a page that has no verdict
INTERRUPTED = 130  # what Typer makes of Ctrl-C
MONITORED = 0.15  # of the training pages, where an epoch is to be chosen


def _version(wanted: bool) -> None:
    if wanted:
        console.print(f"heartai {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")] = False,
) -> None:
    pass


@app.command()
def check() -> None:
    """Look whether this machine can run the course: [OK] or [FAIL] for each thing, with the cure."""
    from heartai_utils.checkup import examine

    findings = examine()
    for finding in findings:
        sign = "[green]\\[OK][/]" if finding.fine else "[red]\\[FAIL][/]"
        console.print(f"{sign} {finding.what}" + ("" if finding.fine else f": {finding.cure}"))
    if not all(finding.fine for finding in findings):
        raise typer.Exit(1)


@app.command()
def simulate(
    dest: Annotated[Path, typer.Argument(help="A new folder, or one that this command began.")],
    pages: Annotated[int, typer.Option(min=1, help="How many pages.")] = 240,
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same files.")] = 0,
    shares: Annotated[str, typer.Option(metavar="balanced|published", help="Of the four conditions.")] = "balanced",
    rate_matched: Annotated[
        bool, typer.Option("--rate-matched", help="The same heart rates, 50 to 90 bpm, under every condition.")
    ] = False,
    shortcut: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[=CONDITION]",
            help="Plant something outside the trace that gives Myocardial infarction, or the condition named, away: "
            "date, lead_off, quality, mark, id or sex; may be repeated.",
        ),
    ] = None,
    shortcut_strength: Annotated[float, typer.Option(help="Share of the pages that follow a shortcut.")] = 1.0,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one a core.")] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="tcp://HOST:PORT", help="Of a dask cluster, whose workers draw; this machine writes."),
    ] = None,
) -> None:
    """Draw simulated pages in the published layout, with the truth beside them. Interrupted, it goes on."""
    from heartai_utils.dataset import simulate_set

    planted = _shortcuts(shortcut or [])
    if shortcut_strength != 1 and not planted:
        raise ValueError(f"--shortcut-strength {shortcut_strength:g} plants nothing by itself: add --shortcut NAME")
    catalogue = simulate_set(
        dest,
        pages,
        seed,
        shares=shares,
        rate_matched=rate_matched,
        shortcuts=planted,
        shortcut_strength=shortcut_strength,
        progress=errors.is_terminal,
        workers=workers,
        scheduler=scheduler,
    )
    for condition, count in catalogue["condition"].value_counts(sort=False).items():
        console.print(f"{count:6d} {condition}")
    console.print(f"{len(catalogue):6d} pages in {dest}", markup=False)


def _shortcuts(texts: list[str]) -> dict[str, str]:
    """From NAME[=CONDITION] the condition by name."""
    planted = {}
    for name, equals, condition in (text.partition("=") for text in texts):
        if not name or (equals and not condition):
            raise ValueError(f"shortcut {name + equals + condition!r}: write NAME or NAME=CONDITION")
        if name in planted:
            raise ValueError(f"shortcut {name!r} is given twice: it gives one condition away")
        planted[name] = condition or "Myocardial infarction"
    return planted


@app.command()
def download(
    dest: Annotated[Path | None, typer.Argument(help="A folder; by default data/published.")] = None,
    source: Annotated[
        Path | None, typer.Option("--from", help="A zip or folder that is there already; nothing is fetched.")
    ] = None,
) -> None:
    """Fetch the published pages (194 MB) and verify each. Interrupted, it goes on."""
    from heartai_utils import download as downloader

    if source is None:
        console.print(f"{downloader.ABOUT}\n{downloader.PUBLISHED_ZIP_URL}", markup=False)
    found = downloader.download(dest, source=source, progress=errors.is_terminal)
    if not found.complete:
        _complain(f"{found}. Those that are there can be used; without --from, the same command fetches the rest")
        raise typer.Exit(2)
    console.print(str(found), markup=False)


@app.command()
def audit(
    folder: Annotated[
        Path | None, typer.Argument(help="Pages in the published layout; without it the published manifest alone.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
    splits: Annotated[int, typer.Option(min=2, max=10_000, help="Random splits that each program is scored on.")] = 200,
    seed: Annotated[int, typer.Option(min=0, help="Of the splits.")] = 0,
) -> None:
    """Copies, near copies and shared IDs among pages, and what programs score that read no heart."""
    from heartai_utils import audit as auditor

    if folder is None:
        found = auditor.audit_manifest(seed=seed, splits=splits)
    else:
        found = auditor.audit(folder, seed=seed, splits=splits, progress=errors.is_terminal)
    console.print(found.to_json() if as_json else auditor.report(found), markup=False)


@app.command()
def shrink(
    data: Annotated[Path, typer.Argument(help="Pages in the published layout.")],
    method: Annotated[str, typer.Option(help="As of `heartai train`.")] = "even-ink",
    crop: Annotated[
        str | None, typer.Option(metavar="grid", help="Only what lies inside the frame; the whole page without it.")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Pages at a time; by default one a core.")] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(
            metavar="tcp://HOST:PORT", help="Of a dask cluster, whose workers shrink; this machine reads and writes."
        ),
    ] = None,
) -> None:
    """Make the thumbnails of a set ahead; train and the chapters find them. Interrupted, it goes on.

    A page that cannot be read is named; the others go on (exit code 2).
    """
    from heartai_utils import dataset, downsampling

    catalogue, skipped = dataset.read_catalogue(data)
    found = downsampling.load_thumbnails(
        catalogue["path"],
        method=method,
        crop=crop,
        cache_dir=dataset.data_home() / "thumbnails",
        md5s=catalogue["md5"],
        progress=errors.is_terminal,
        threads=workers,
        scheduler=scheduler,
    )
    refused = [f"{row.file}: {row.reason}" for row in skipped.itertuples()] + found.rejected["reason"].tolist()
    for reason in refused:
        _complain(reason)
    console.print(f"{found.made:6d} made\n{len(found) - found.made:6d} already there\n{len(refused):6d} refused")
    if refused:
        raise typer.Exit(2)


@app.command()
def train(
    folder: Annotated[Path, typer.Argument(help="The run folder: new, or of the same run interrupted.")],
    data: Annotated[Path | None, typer.Option(help="Pages in the published layout; simulated ones without it.")] = None,
    init: Annotated[
        Path | None, typer.Option(help="A run folder whose model's weights to begin with (fine-tuning).")
    ] = None,
    simulated: Annotated[
        int | None, typer.Option(min=40, help="Train on so many simulated pages, which are kept as thumbnails alone.")
    ] = None,
    preset: Annotated[
        str, typer.Option(metavar="testing|course|reference|best", help="The model; best sees the traces alone.")
    ] = "course",
    split: Annotated[
        str,
        typer.Option(
            metavar="grouped|distinct|as_published",
            help="What stays together: copies and printed IDs; copies; nothing (copies on both sides).",
        ),
    ] = "grouped",
    validation: Annotated[float, typer.Option(help="Share of the pages held out.")] = 0.2,
    epochs: Annotated[int, typer.Option(min=1)] = 35,
    batch_size: Annotated[int, typer.Option(min=1)] = 32,
    learning_rate: Annotated[float, typer.Option()] = 1e-3,
    weight_decay: Annotated[float, typer.Option(help="Decoupled; on kernels only.")] = 1e-4,
    seed: Annotated[int, typer.Option(min=0, help="Decides split, weights, order and dropout.")] = 0,
    method: Annotated[
        str,
        typer.Option(
            help="How pages are shrunk: even-ink, the course's own; area, linear … of OpenCV; pillow-… and tf-… "
            "(chapter 03 compares them; an unknown name lists all)."
        ),
    ] = "even-ink",
    crop: Annotated[
        str | None,
        typer.Option(
            metavar="grid|traces",
            help="What lies inside the frame, or the traces alone; the whole page without it, for best the traces.",
        ),
    ] = None,
    schedule: Annotated[
        str, typer.Option(metavar="constant|cosine", help="Of the learning rate; cosine goes down to 0.")
    ] = "constant",
    warmup_epochs: Annotated[int, typer.Option(min=0, help="The learning rate climbs first; with cosine.")] = 0,
    label_smoothing: Annotated[float, typer.Option(help="Share of a label spread over all conditions.")] = 0.0,
    class_weights: Annotated[bool, typer.Option("--class-weights", help="Each condition counts alike.")] = False,
    ema: Annotated[
        float | None, typer.Option(help="Momentum of the weights' moving average, such as 0.98; off without it.")
    ] = None,
    clip_norm: Annotated[float | None, typer.Option(help="Longest gradient, such as 1; no limit without it.")] = None,
    augment: Annotated[
        bool, typer.Option("--augment", help="Shift, gain, wander, a lost lead, JPEG noise: anew in every epoch.")
    ] = False,
    monitor: Annotated[
        float | None,
        typer.Option(
            help=f"Share of training pages held back to choose an epoch by; {MONITORED:g} with --patience or best."
        ),
    ] = None,
    patience: Annotated[
        int | None, typer.Option(min=1, help="Stop when the monitored loss was not lower for so many epochs.")
    ] = None,
    report: Annotated[
        str, typer.Option(metavar="last|best", help="The epoch that is scored and kept as model.keras.")
    ] = "last",
) -> None:
    """Train a Vision Transformer and say what it is worth. Interrupted, it goes on where it was."""
    from heartai_utils import dataset, pretraining, splits, training, vit

    if simulated and data:
        raise ValueError("--simulated and --data both say which pages to train on: give one of them")
    crop = crop or vit.CROPS.get(preset)
    config = training.TrainingConfig(
        vit.preset(preset, **({"header_rows": 0} if crop else {})),
        epochs,
        batch_size,
        learning_rate,
        weight_decay,
        seed,
        schedule=schedule,
        warmup_epochs=warmup_epochs,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        ema_momentum=ema,
        clip_norm=clip_norm,
        augmentation=training.Augmentation() if augment else None,
        patience=patience,
        report=report,
    )
    if monitor is None:
        monitor = MONITORED if config.needs_monitor else 0.0
    seen = {"method": method, "crop": crop, "size": config.model.image_size, "progress": errors.is_terminal}
    if simulated:
        pages = pretraining.simulated_data(simulated, seed, **seen)
    else:
        catalogue = dataset.course_pages("quick", str(data or ""), seed)
        sides = splits.split(catalogue, split, validation=validation, seed=seed)
        pages = training.load_data(catalogue, sides, monitor=monitor, **seen)
    initial = training.load_run(init).model if init else None
    run = training.train(config, pages, folder, progress=errors.is_terminal, initial=initial)
    _print_metrics(run.metrics)
    if run.best_epoch is not None:
        console.print(f"lowest loss on the monitored pages: epoch {run.best_epoch} of {len(run.history)}")
    console.print(f"{folder} holds the run: config, history, metrics, predictions, weights", markup=False)


def _print_metrics(metrics) -> None:
    low, high = metrics.accuracy_interval
    chance = 1 / sum(recall is not None for recall in metrics.recall.values())
    table = Table("", "model", "majority class", box=box.SIMPLE)
    table.add_row("right", f"{metrics.correct} of {metrics.pages}", "")
    table.add_row("accuracy", f"{metrics.accuracy:.3f}", f"{metrics.majority_accuracy:.3f}")
    table.add_row("its 95 % interval", f"{low:.3f} to {high:.3f}", "")
    table.add_row("balanced accuracy", f"{metrics.balanced_accuracy:.3f}", f"{chance:.3f}")
    table.add_row("macro-F1", f"{metrics.macro_f1:.3f}", f"{metrics.majority_macro_f1:.3f}")
    for name, recall in metrics.recall.items():
        table.add_row(f"recall, {name}", "no page" if recall is None else f"{recall:.3f}", "")
    console.print(table)


@app.command()
def ablate(
    folder: Annotated[Path, typer.Argument(help="A new folder, or one of an ablation, to which runs are added.")],
    data: Annotated[Path | None, typer.Option(help="Pages in the published layout; simulated ones without it.")] = None,
    preset: Annotated[
        list[str] | None, typer.Option(metavar="testing|course|reference", help="By default course.")
    ] = None,
    split: Annotated[
        list[str] | None, typer.Option(metavar="grouped|distinct|as_published", help="By default grouped.")
    ] = None,
    weight_decay: Annotated[list[str] | None, typer.Option(help="Such as 0,0.05,0.3; by default 0.0001.")] = None,
    learning_rate: Annotated[list[str] | None, typer.Option(help="By default 0.001.")] = None,
    epochs: Annotated[list[str] | None, typer.Option(help="By default 35.")] = None,
    batch_size: Annotated[list[str] | None, typer.Option(help="By default 32.")] = None,
    method: Annotated[list[str] | None, typer.Option(help="How pages are shrunk; by default even-ink.")] = None,
    crop: Annotated[
        str | None, typer.Option(metavar="grid", help="Only what lies inside the frame; the whole page without it.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="So many runs, each with its own split, of each setting.")] = 5,
    validation: Annotated[float, typer.Option(help="Share of the pages held out.")] = 0.2,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; by default one a core.")] = None,
    scheduler: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="Of a dask scheduler, such as tcp://10.0.0.5:8786.")
    ] = None,
) -> None:
    """Train with every combination of settings, each with several seeds, and say what a setting changes.

    Settings take several values: separated by commas, or by giving the option again. The others are compared with the
    first. Interrupted, the same command does what is missing (exit code 2 if a run failed by itself).
    """
    from heartai_utils import ablation, dataset

    given = {
        "preset": _values("--preset", preset),
        "split": _values("--split", split),
        "method": _values("--method", method),
        "batch_size": _values("--batch-size", batch_size, int),
        "epochs": _values("--epochs", epochs, int),
        "learning_rate": _values("--learning-rate", learning_rate, float),
        "weight_decay": _values("--weight-decay", weight_decay, float),
    }
    axes = {name: values for name, values in given.items() if values}
    trials = ablation.grid(seeds, ablation.Trial(validation=validation, crop=crop), **axes)
    catalogue = dataset.course_pages("quick", str(data or ""))
    shown = errors.is_terminal
    runs = ablation.run(trials, catalogue, folder, scheduler=scheduler, workers=workers, progress=shown)
    for score in ("accuracy", "macro_f1"):
        _print_effects(ablation, runs, axes, score)
    console.print(
        f"{folder} holds {len(runs)} trial{'s' * (len(runs) > 1)}: results.csv, .parquet and .png, and the runs",
        markup=False,
    )
    for trial in runs.dropna(subset=["error"]).itertuples():
        _complain(f"run {trial.run}: {trial.error}")
    if runs["error"].notna().any():
        raise typer.Exit(2)


def _values(option: str, texts: list[str] | None, kind: type = str) -> list:
    """The values in an option's comma lists."""
    values = [value.strip() for text in texts or [] for value in text.split(",")]
    try:
        return [kind(value) for value in values]
    except ValueError:
        given, whole = ",".join(texts), "whole " * (kind is int)
        raise ValueError(f"{option} {given}: give {whole}numbers separated by commas") from None


def _print_effects(ablation, runs, axes: dict[str, list], score: str) -> None:
    """What each setting changes against its first value; where nothing varies, the score itself."""
    from heartai_utils.evaluation import mean_interval

    varied, scores = ablation.varied(runs), runs[score].dropna()
    if not varied and len(scores) > 1:
        console.print(f"{score}: {mean_interval(scores, overlap=ablation.overlap_of(runs))}")
    elif not varied and len(scores):
        console.print(f"{score}: {scores.iloc[0]:.3f} (1 run)")
    for setting in varied:
        first = axes[setting][0]
        if runs.loc[runs[setting] == first, score].isna().all():
            continue
        found = ablation.effects(runs, setting, first, score)
        others = [name for name in varied if name != setting]
        table = Table(*others, setting, f"{score} against {first}", "95 % interval", "pairs", box=box.SIMPLE)
        for row in found.to_dict("records"):
            interval = f"{row['low']:+.3f} to {row['high']:+.3f}" if row["pairs"] > 1 else ""
            told = (f"{row['mean']:+.3f}", interval, row["pairs"])
            table.add_row(*(str(each) for each in (*(row[name] for name in (*others, setting)), *told)))
        console.print(table)


@app.command()
def predict(
    pages: Annotated[
        list[Path],
        typer.Argument(
            metavar="PAGE|FOLDER...",
            help="Pages: JPEG or PNG of 2213 × 1572, or PDF; of a folder all that are in it and in the folders below.",
            readable=False,
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="best|traces|course|FOLDER",
            help="best, a Vision Transformer taught by simulated and real pages; traces, which reads the page back to "
            "millivolts and never sees the picture; course, the chapters' own; or a run folder of `heartai train`.",
        ),
    ] = "best",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a page.")] = False,
) -> None:
    """The four probabilities for each page. What cannot be read is named; the others go on (exit code 2).

    A PDF gives those of its pages that are such a page.
    """
    from tqdm.std import tqdm

    from heartai_utils.page_files import find_pages, read_files
    from heartai_utils.verdict import PageReader

    files = find_pages(pages)
    reader = PageReader(model)
    outcomes: Counter[str] = Counter()
    hidden = not errors.is_terminal or len(files) == 1
    with tqdm(total=len(files), desc="reading", unit="file", leave=False, disable=hidden) as bar:
        try:
            for page in read_files(reader, files):
                with tqdm.external_write_mode():
                    outcomes[_print_outcome(page, reader.about, as_json)] += 1
                bar.update(page.files - bar.n)
        except KeyboardInterrupt:
            bar.close()
            _complain(f"interrupted after {outcomes.total()} pages of {len(files)} files; the rest was not read")
            raise _Interrupted(INTERRUPTED) from None
    refused = outcomes.pop(REFUSED, 0)
    if outcomes and not as_json:
        if outcomes.total() + refused > 1:
            counts = [f"{count} {condition}" for condition, count in outcomes.most_common()]
            console.print(f"{outcomes.total()} pages read: {', '.join(counts)}; {refused} refused")
        console.print(f"{reader.about} For teaching; not a medical device.")
    if refused:
        raise typer.Exit(2)


def _print_outcome(page, about: str, as_json: bool) -> str:
    """Print a page's verdict, or why there is none; gives the condition, or `REFUSED`."""
    from heartai_utils.uploads import printable

    if isinstance(page.outcome, Exception):
        _complain(page.outcome)
        return REFUSED
    if as_json:
        found = {"page": page.name, **page.outcome.to_dict(), "about": about}
        console.print(json.dumps(found), markup=False)
    else:
        console.print(f"{printable(page.name)}: {page.outcome.condition}", markup=False)
        for name, probability in page.outcome.probabilities.items():
            console.print(f"  {probability:6.3f}  {name}")
    return page.outcome.condition


class _Interrupted(SystemExit):
    """Ctrl-C that the command itself has told of."""


@app.command()
def course(
    profile: Annotated[str, typer.Option(metavar="quick|full", help="quick takes about a minute a chapter.")] = "quick",
    data: Annotated[Path | None, typer.Option(help="Pages in the published layout; simulated ones without it.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="The number of a chapter; may be repeated.")] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", help="NAME=VALUE of a chapter's own; may be repeated.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the executed chapters; by default data/course.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Run also chapters that have run unchanged.")] = False,
) -> None:
    """Run the chapters in order and end with where to look."""
    from heartai_utils import course as runner
    from heartai_utils.dataset import data_home, read_catalogue

    if profile not in ("quick", "full"):
        raise ValueError(f"profile {profile!r}: use quick or full")
    parameters: dict = {"profile": profile}
    pages = ""
    if data is not None:
        catalogue, _ = read_catalogue(data)  # says at once, and clearly, if there are no pages
        pages = " ".join(catalogue["md5"])
        parameters["data_dir"] = str(data.resolve())
    if seed is not None:
        parameters["seed"] = seed
    parameters |= dict(_named_value(text) for text in parameter or [])
    out = out or data_home() / "course" / runner.folder_name(parameters)
    failed = 0
    for result in runner.run(out, parameters, only, again, pages=pages):
        sign = "[green]\\[OK][/]" if result.finished else "[red]\\[FAIL][/]"
        note = "as before (--again runs it anew)" if result.kept else result.error
        console.print(f"{sign} {result.chapter}  {result.seconds:.0f} s  {escape(note)}".rstrip())
        failed += not result.finished
    console.print(f"Open {out / 'index.html'} in a browser, or the notebooks beside it in JupyterLab.", markup=False)
    if failed:
        raise typer.Exit(1)


def _named_value(text: str) -> tuple[str, object]:
    name, equals, value = text.partition("=")
    if not equals or not name.isidentifier():
        raise ValueError(f"parameter {text!r}: write NAME=VALUE")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


@app.command(name="app")
def reading_room(
    port: Annotated[int, typer.Option(min=1, max=65535, help="Of the page.")] = 8866,
    ip: Annotated[str, typer.Option(help="Address to listen on; by default only this machine can open the page.")] = (
        "127.0.0.1"
    ),
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Open the reading room: give a page, see its verdict. Stays on this machine; Ctrl-C ends it."""
    from heartai_utils.page_server import serve

    serve(ip, port, browser, lambda address: console.print(f"The reading room is open at {address} (Ctrl-C ends it)"))


def _complain(error: Exception | str) -> None:
    errors.print(f"heartai: {error}", style="red", markup=False)


def main() -> None:
    """Run the command line; what the user can mend is told in one line, with exit code 2."""
    try:
        app()
    except OSError as error:
        _complain(f"{error.filename}: {error.strerror}" if error.filename else error)
        sys.exit(2)
    except ValueError as error:
        _complain(error)
        sys.exit(2)
    except SystemExit as end:
        if end.code == INTERRUPTED and not isinstance(end, _Interrupted):
            _complain("interrupted; give the same command again, and it goes on")
        raise
