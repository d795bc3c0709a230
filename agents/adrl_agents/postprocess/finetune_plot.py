"""The picture of a finetuning."""

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adrl_agents.runs import BLUE, GREY, RED, SearchResult, clean, title
from adrl_gym.qat import Finetuned

_GREEN, _PURPLE = "#228833", "#AA3377"  # of the same colour-blind safe scheme
_Line = tuple[str, str, dict[int, float], float | None]  # colour, label, value of each epoch, the float network's


def draw_finetuning(done: Finetuned, result: SearchResult, start: str) -> Figure:
    """Accuracy over the epochs of a finetuning, and of the float network; divergence and loss on the test images."""
    in_nats: list[_Line] = [
        (colour, label, values, reference)
        for colour, label, values, reference in (
            (_GREEN, "test KL from the float network", _values(done, "test_kl"), None),
            (_PURPLE, "test loss", _values(done, "test_loss"), done.float_test_loss),
        )
        if values
    ]
    figure = Figure(figsize=(10.0 if in_nats else 6.5, 4.4), layout="constrained")
    accuracy, *others = figure.subplots(1, 2 if in_nats else 1, squeeze=False)[0]
    search = "agreement with float" if result.data == "data-free" else "search accuracy"
    in_percent: list[_Line] = [(BLUE, search, _values(done, "search_accuracy"), done.float_search_accuracy)]
    if done.float_test_accuracy is not None:
        in_percent.append((RED, "test accuracy", _values(done, "test_accuracy"), done.float_test_accuracy))
    _draw(accuracy, in_percent)
    _draw(accuracy, [(GREY, "test agreement", _values(done, "test_agreement"), None)])
    accuracy.set_ylabel("accuracy (%)")
    for axes in others:
        _draw(axes, in_nats)
        axes.set_ylabel("nats")
    for axes in (accuracy, *others):
        axes.axvline(done.best.epoch, color=GREY, linewidth=0.8, linestyle=":", label="best epoch")
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
        axes.set_xlabel("epochs")
        clean(axes)
    legend: dict[str, Artist] = {}
    for axes in (accuracy, *others):
        handles, labels = axes.get_legend_handles_labels()
        legend.update(zip(labels, handles, strict=True))
    figure.legend(handles=list(legend.values()), ncols=3, fontsize=8, frameon=False, loc="outside lower center")
    first = done.epochs[0].search_accuracy
    gain = f"{search} {first:.2f} to {done.best.search_accuracy:.2f} %"
    title(figure, result, f"finetuned from {start} weights, {len(done.epochs) - 1} epochs: {gain}")
    return figure


def _values(done: Finetuned, name: str) -> dict[int, float]:
    """Return one measure of each epoch where it is known."""
    found: dict[int, float | None] = {epoch.epoch: getattr(epoch, name) for epoch in done.epochs}
    return {epoch: value for epoch, value in found.items() if value is not None}


def _draw(axes: Axes, lines: list[_Line]) -> None:
    for colour, label, values, reference in lines:
        if values:
            axes.plot(*zip(*values.items(), strict=True), "-o", color=colour, lw=2, ms=4, label=label)
        if reference is not None:
            axes.axhline(reference, color=colour, lw=1, ls="--", label=f"{label} of the float network")
