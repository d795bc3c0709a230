"""The picture of a finetuning."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from adrl_agents.runs import BLUE, GREY, RED, SearchResult, clean, title
from adrl_gym.qat import Finetuned


def draw_finetuning(done: Finetuned, result: SearchResult, start: str) -> Figure:
    """Accuracy over the epochs of a finetuning, and of the float network."""
    figure = Figure(figsize=(6.5, 4.2), layout="constrained")
    axes = figure.subplots()
    numbers = [epoch.epoch for epoch in done.epochs]
    search = "agreement with float" if result.data == "data-free" else "search accuracy"
    lines = [(BLUE, search, [epoch.search_accuracy for epoch in done.epochs], done.float_search_accuracy)]
    if done.float_test_accuracy is not None:
        test = [epoch.test_accuracy for epoch in done.epochs if epoch.test_accuracy is not None]
        lines.append((RED, "test accuracy", test, done.float_test_accuracy))
    for colour, label, accuracies, reference in lines:
        axes.plot(numbers, accuracies, "-o", color=colour, linewidth=2, markersize=4, label=label)
        axes.axhline(reference, color=colour, linewidth=1, linestyle="--", label=f"{label} of the float network")
    axes.axvline(done.best.epoch, color=GREY, linewidth=0.8, linestyle=":", label="best epoch")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=7, integer=True))
    axes.set_xlabel("epochs")
    axes.set_ylabel("accuracy (%)")
    clean(axes)
    figure.legend(*axes.get_legend_handles_labels(), ncols=2, fontsize=8, frameon=False, loc="outside lower center")
    first = done.epochs[0].search_accuracy
    gain = f"{search} {first:.2f} to {done.best.search_accuracy:.2f} %"
    title(figure, result, f"finetuned from {start} weights, {len(numbers) - 1} epochs: {gain}")
    return figure
