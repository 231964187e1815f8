"""Accuracy by epoch of several runs in one picture: the figures of docs/results.md.

python benchmarks/curves.py docs/figures/NAME.png TITLE RUN=label RUN=label ...
"""

import sys
from pathlib import Path

from matplotlib.figure import Figure

from spikeformers.training.metrics_table import read_metrics


def main(picture: str, title: str, *runs: str) -> None:
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="epoch", ylabel="validation accuracy, %")
    for run, label in (run.split("=", 1) for run in runs):
        rows = [row for row in read_metrics(Path(run) / "metrics.csv") if row["val_acc"]]
        epochs, accuracies = zip(*((int(row["epoch"]), float(row["val_acc"])) for row in rows), strict=True)
        axes.plot(epochs, accuracies, marker="o", markersize=3, label=label)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(picture, dpi=120)


if __name__ == "__main__":
    main(*sys.argv[1:])
