"""A finetuning goes on where it stopped, and nowhere else."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from adrl_gym import AdrlGymError
from adrl_gym.datasets.images import ImageSet
from adrl_gym.evaluation.precision import Precision
from adrl_gym.qat.epochs import Finetuned
from adrl_gym.qat.settings import Finetuning
from trainable import BITS, SETTINGS, labelled, make_problem, run, same, smooth


class StopError(Exception):
    """Ends a finetuning between two epochs."""


@pytest.mark.parametrize("after", [0, 1, 2])
def test_a_resumed_finetuning_is_the_uninterrupted_one(normed: nn.Module, tmp_path: Path, after: int) -> None:
    problem, state = make_problem(normed), tmp_path / "state.pt"

    def stop(done: Finetuned) -> None:
        if len(done.epochs) - 1 == after:
            raise StopError

    whole = run(problem, (3, 2, 3))
    with pytest.raises(StopError):
        run(problem, (3, 2, 3), state=state, on_epoch=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
    parts = run(problem, (3, 2, 3), state=state, resume=True)
    assert parts.epochs == whole.epochs
    assert same(parts.network, whole.network)
    again = run(problem, (3, 2, 3), state=state, resume=True)
    assert again.epochs == whole.epochs
    assert same(again.network, whole.network)


def test_states_that_do_not_fit_are_refused(tiny: nn.Module, tmp_path: Path) -> None:
    problem, state = make_problem(tiny), tmp_path / "state.pt"
    settings = Finetuning(epochs=1, batch_size=32, precision="float32")
    run(problem, state=state, settings=settings)
    for bits, others in ((BITS, SETTINGS), ((4, 2, 2, 3), settings)):
        with pytest.raises(AdrlGymError, match="is of another finetuning"):
            run(problem, bits, state=state, resume=True, settings=others)
    whole = state.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"no state"):
        state.write_bytes(content)
        with pytest.raises(AdrlGymError, match=f"cannot resume from {re.escape(str(state))}: it is damaged"):
            run(problem, state=state, resume=True, settings=settings)


def test_a_state_of_before_the_other_test_metrics_is_resumed(tiny: nn.Module, tmp_path: Path) -> None:
    problem, state = make_problem(tiny), tmp_path / "state.pt"

    def stop(done: Finetuned) -> None:
        if len(done.epochs) == 2:
            raise StopError

    with pytest.raises(StopError):
        run(problem, state=state, on_epoch=stop)
    there = torch.load(state, weights_only=True)
    for epoch in there["epochs"]:
        for name in ("test_agreement", "test_kl", "test_loss"):
            del epoch[name]
    torch.save(there, state)
    done = run(problem, state=state, resume=True)
    assert [epoch.test_kl is None for epoch in done.epochs] == [True, True, False, False]


@pytest.mark.parametrize("begun", ["float32", "bfloat16"])
def test_a_resumed_finetuning_keeps_the_precision_that_it_was_begun_in(
    tiny: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, begun: Precision
) -> None:
    def faster(precision: Precision) -> None:
        def check(*_: object) -> None:
            if precision == "float32":
                raise AdrlGymError("bfloat16 takes 1.1 times as long")

        monkeypatch.setattr("adrl_gym.qat.loop.check_native", check)

    def stop(done: Finetuned) -> None:
        if len(done.epochs) == 2:
            raise StopError

    problem, state = make_problem(tiny), tmp_path / "state.pt"
    settings = Finetuning(epochs=2, batch_size=32)
    faster(begun)
    whole = run(problem, settings=settings)
    with pytest.raises(StopError):
        run(problem, settings=settings, state=state, on_epoch=stop)
    faster("float32" if begun == "bfloat16" else "bfloat16")
    parts = run(problem, settings=settings, state=state, resume=True)
    assert parts.precision == whole.precision == begun
    assert parts.epochs == whole.epochs
    assert same(parts.network, whole.network)


def relabelled(images: ImageSet) -> ImageSet:
    assert images.labels is not None
    return ImageSet(images.images, images.labels.roll(1))


@pytest.mark.parametrize("which", ["train", "search", "test"])
@pytest.mark.parametrize("other", [relabelled, lambda images: ImageSet(images.images.flip(0), images.labels)])
def test_a_state_of_other_images_is_refused(
    tiny: nn.Module, tmp_path: Path, which: str, other: Callable[[ImageSet], ImageSet]
) -> None:
    problem, state = make_problem(tiny), tmp_path / "state.pt"
    images = labelled(tiny, smooth(100, 3))
    settings = Finetuning(epochs=1, batch_size=32, precision="float32")
    given: dict[str, Any] = {"state": state, "settings": settings, which: images}
    run(problem, **given)
    with pytest.raises(AdrlGymError, match=r"is of another finetuning \(other settings, weights or images\)"):
        run(problem, **{**given, which: other(images)}, resume=True)


def test_every_search_image_counts_when_a_finetuning_is_resumed(tiny: nn.Module, tmp_path: Path) -> None:
    problem, state = make_problem(tiny), tmp_path / "state.pt"
    settings = Finetuning(epochs=1, batch_size=32, precision="float32")
    images = smooth(100, 3)
    run(problem, search=ImageSet(images, None), state=state, settings=settings)
    images[99] += 1
    with pytest.raises(AdrlGymError, match="is of another finetuning"):
        run(problem, search=ImageSet(images, None), state=state, resume=True, settings=settings)


def test_a_state_of_an_older_version_is_refused(tiny: nn.Module, tmp_path: Path) -> None:
    problem, state = make_problem(tiny), tmp_path / "state.pt"
    run(problem, state=state)
    there = torch.load(state)
    del there["precision"]
    torch.save({**there, "key": "0" * 64}, state)  # which was of other things
    with pytest.raises(AdrlGymError, match="is of another finetuning"):
        run(problem, state=state, resume=True)
