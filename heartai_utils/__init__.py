"""Behind the Heart AI course: simulated hearts, the printed page, its thumbnail, the Vision Transformer, the verdict.

Each module does one step of the way and imports only from the steps before it::

    conditions, simulation, page, uploads, dataset, download, splits, audit, beat_features, downsampling, augmentation,
    vit, evaluation, training, pretraining, ablation, explain, trace_models, alike, verdict, page_files, plots, widgets,
    exercises, page_report, page_html, reading_room, page_server, course, checkup, cli
"""

__version__ = "0.1.0"
