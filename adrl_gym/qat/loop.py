"""The finetuning from start to end: epoch after epoch, measured, the best kept, resumable."""

import copy
import dataclasses
import hashlib
import io
import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from adrl_gym.datasets import Images, check_fit
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import Precision, check_native
from adrl_gym.files import write_whole
from adrl_gym.layers import ActivationGrid, input_grids, set_input_grid
from adrl_gym.models import content_hash
from adrl_gym.qat.epochs import Epoch, EpochMeasure, Finetuned, finite_or_none
from adrl_gym.qat.loader import Feed
from adrl_gym.qat.settings import Finetuning
from adrl_gym.qat.teacher import FloatTeacher
from adrl_gym.qat.trainer import Trainer
from adrl_gym.quantization import QuantizedNetwork


def finetune(
    network: nn.Module,
    start: QuantizedNetwork,
    *,
    train: Images,
    search: Images,
    test: Images | None = None,
    settings: Finetuning | None = None,
    device: torch.device | str = "cpu",
    state: Path | None = None,
    resume: bool = False,
    on_epoch: Callable[[Finetuned], None] | None = None,
    progress: bool = False,
) -> Finetuned:
    """Quantization-aware training of a quantized network, whose weights stay on the grid of their bits.

    Args:
        network: the float network, which teaches; left alone.
        start: the quantized network to begin with, for example ``QuantProblem.quantized(bits)``; left alone. Of a
            quantizer with codebooks these are trained, and no weight changes its entry.
        train: images to train on; their labels are only needed without distillation.
        search: images that choose the best epoch.
        test: images to report on, if any; nothing is chosen by them.
        settings: see ``Finetuning``.
        device: where it trains.
        state: file that everything is kept in after each epoch; ``None`` for none.
        resume: go on from ``state``, if it is there, in the precision that it was begun in.
        on_epoch: called after each epoch, and at the begin, with all so far.
        progress: show a bar.

    Returns:
        The best network and the log. Its weights are what ``save_packed`` takes.

    Raises:
        AdrlGymError: networks, bits, images or labels that do not fit each other, settings that cannot be, a state of
            another finetuning, a loss that is not finite. What ``state`` and ``on_epoch`` have written stays.
    """
    settings, device = settings or Finetuning(), torch.device(device)
    settings.check()
    _check(network, start.network, train, search, test, settings)
    measure = EpochMeasure(network, search, test, device)
    key = _key(network, start.network, train, search, test, settings)
    there = _load(state, key) if state is not None and resume and state.exists() else None
    precision = _precision(settings, device) if there is None else there["precision"]
    trainer = Trainer(
        start,
        teacher=FloatTeacher(network, search, device, precision) if settings.distillation else None,
        feed=(feed := Feed(train, settings.batch_size, settings.horizontal_flip)),
        settings=settings,
        precision=precision,
        device=device,
    )
    if there is None:
        first = measure(0, 0.0, None, start.network)
        own = copy.deepcopy(start.network).cpu().eval().requires_grad_(False)
        done = _Done(start.with_network(own), first, [first], settings.distillation)
        _save(state, key, precision, trainer, done)
    else:
        assert state is not None
        done = _restore(state, there, trainer, start, settings.distillation)

    def so_far() -> Finetuned:
        search_float, test_float = measure.reference
        return Finetuned(
            network=done.network,
            best=done.best,
            epochs=tuple(done.epochs),
            float_search_accuracy=search_float.accuracy,
            float_test_accuracy=None if test_float is None else test_float.accuracy,
            precision=precision,
            float_test_loss=None if test_float is None else finite_or_none(test_float.loss),
        )

    if on_epoch is not None:
        on_epoch(so_far())
    with tqdm(
        *(None, "finetuning", settings.epochs * len(feed)),
        initial=(len(done.epochs) - 1) * len(feed),
        unit="step",
        dynamic_ncols=True,
        disable=not progress,
    ) as bar:
        for number in range(len(done.epochs), settings.epochs + 1):

            def show(loss: float, number: int = number, best: float = done.best.search_accuracy) -> None:
                bar.set_postfix_str(f"epoch {number}, loss {loss:.4f}, best accuracy {best:.2f} %", refresh=False)
                bar.update()

            loss = trainer.train_epoch(number, show)
            trained = trainer.network()
            epoch = measure(number, trainer.learning_rate(number * len(feed) - 1), loss, trained.network)
            done.add(epoch, trained)
            _save(state, key, precision, trainer, done)
            if on_epoch is not None:
                on_epoch(so_far())
    return so_far()


@dataclass
class _Done:
    """The best network, its epoch, and the log.

    Where the float network teaches, the divergence from it chooses: from epoch to epoch, accuracy on some thousand
    images changes by chance more than by training.
    """

    network: QuantizedNetwork
    best: Epoch
    epochs: list[Epoch]
    by_divergence: bool

    def add(self, epoch: Epoch, network: QuantizedNetwork) -> None:
        self.epochs.append(epoch)
        if self._is_best(epoch):
            self.best, self.network = epoch, network

    def _is_best(self, epoch: Epoch) -> bool:
        if self.by_divergence and epoch.search_kl is not None and self.best.search_kl is not None:
            return epoch.search_kl <= self.best.search_kl
        return epoch.search_accuracy >= self.best.search_accuracy


def _check(
    network: nn.Module, start: nn.Module, train: Images, search: Images, test: Images | None, settings: Finetuning
) -> None:
    kind = type(network).__name__
    shapes = {name: parameter.shape for name, parameter in start.named_parameters()}
    for name, parameter in network.named_parameters():
        if shapes.get(name) != parameter.shape:
            raise AdrlGymError(f"the network to begin with is not {kind} quantized: it differs in {name}")
    for images in (train, search, *([] if test is None else [test])):
        check_fit(network, images)
    if len(train) < 2:
        raise AdrlGymError("1 training image: at least 2 are needed")
    if train.labels is None and not settings.distillation:
        raise AdrlGymError("the training images have no labels: let the float network teach", parameter="distillation")


def _precision(settings: Finetuning, device: torch.device) -> Precision:
    if settings.precision == "float32":
        return "float32"
    try:
        check_native("bfloat16", [device])
    except AdrlGymError:
        if settings.precision == "bfloat16":
            raise
        return "float32"
    return "bfloat16"


def _key(
    network: nn.Module, start: nn.Module, train: Images, search: Images, test: Images | None, settings: Finetuning
) -> str:
    """Return a hash of the weights, inputs' grids, images and settings as given, without what this machine measured.

    Of images that may be many, all labels and the first batch stand for the rest.
    """
    names = {field.name: field.name for field in dataclasses.fields(Finetuning)}  # not a subclass's
    names["horizontal_flip"] = "mirror"  # as version 0.1 named it, so that its finetunings can be resumed
    own = {key: getattr(settings, name) for name, key in names.items()}
    images = [
        _content(search, len(search)),  # they choose the best epoch
        _content(train, settings.batch_size),
        None if test is None else _content(test, settings.batch_size),
    ]
    made_of = [content_hash(network.state_dict()), content_hash(start.state_dict()), images, own]
    if grids := _grids(start):
        made_of.append(grids)
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()


def _grids(network: nn.Module) -> dict[str, tuple[int, float, int]]:
    return {name: dataclasses.astuple(grid) for name, grid in input_grids(network).items()}


def _content(images: Images, count: int) -> list[int | str]:
    """Return their number, and a hash of all labels and of the first ``count`` images."""
    first, _ = next(images.batches(count))  # (B, C, H, W)
    labels = {} if images.labels is None else {"labels": images.labels}
    return [len(images), content_hash({"images": first, **labels})]


def _save(state: Path | None, key: str, precision: Precision, trainer: Trainer, done: _Done) -> None:
    if state is None:
        return
    content = io.BytesIO()
    epochs = [dataclasses.asdict(epoch) for epoch in done.epochs]
    trained = done.network.network
    best = {"state": trained.state_dict(), "grids": _grids(trained), "epoch": done.best.epoch}
    there = {"key": key, "precision": precision, "trainer": trainer.state_dict(), "best": best, "epochs": epochs}
    torch.save(there, content)
    write_whole(state, content.getvalue())


def _load(state: Path, key: str) -> dict[str, Any]:
    """Return what ``_save`` has written, if it is of the same finetuning."""
    with _reading(state):
        there: dict[str, Any] = torch.load(state, map_location="cpu", weights_only=True)
        if there["key"] != key:
            raise AdrlGymError(
                f"{state} is of another finetuning (other settings, weights or images): give the options that it was "
                "begun with, or remove it to begin anew"
            )
    return there


def _restore(
    state: Path, there: dict[str, Any], trainer: Trainer, start: QuantizedNetwork, by_divergence: bool
) -> _Done:
    """Put the trainer where it stopped."""
    with _reading(state):
        trainer.load_state_dict(there["trainer"])
        network = copy.deepcopy(start.network).cpu().eval().requires_grad_(False)
        network.load_state_dict(there["best"]["state"])
        for name, grid in there["best"].get("grids", {}).items():  # version 0.1 wrote none
            set_input_grid(network.get_submodule(name), ActivationGrid(*grid))
        epochs = [Epoch(**row) for row in there["epochs"]]
        return _Done(start.with_network(network), epochs[there["best"]["epoch"]], epochs, by_divergence)


@contextmanager
def _reading(state: Path) -> Iterator[None]:
    try:
        yield
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, TypeError) as error:
        raise AdrlGymError(f"cannot resume from {state}: it is damaged; remove it to begin anew") from error
