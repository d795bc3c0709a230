"""Networks whose output is no ``(N, K)``: structures, predictions at every pixel or token, tokens as inputs."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

from adrl_agents.adrl import ADRL
from adrl_agents.cli import run as run_command
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.bits import bits_from_action
from adrl_gym.datasets.images import ImageSet
from adrl_gym.datasets.splits import Splits
from adrl_gym.envs import problem_of
from adrl_gym.evaluation.metrics import sample_metrics
from adrl_gym.evaluation.result_cache import pack_metrics, unpack_metrics
from adrl_gym.export import load_packed, save_onnx, save_packed
from adrl_gym.outputs import with_output
from adrl_gym.refit import refit
from pictures import make_pictures
from positions import BITS, CASES, accuracy, case


@pytest.mark.parametrize("name", CASES)
def test_search_refit_and_packed_export_measure_every_position(name: str, tmp_path: Path) -> None:
    made = case(name)
    network, x, y, output, ignored, _ = made
    keywords: dict[str, Any] = {
        "data": [(x, y)],
        "output": output,
        "ignore_index": ignored,
        "quantizer": "linear",
        "budget": 0.15,
    }
    env = gym.make(
        "adrl_gym/MixedPrecisionQuant-v0", network=network, bits=BITS, cache=tmp_path / "c.sqlite", **keywords
    )
    problem = problem_of(env)
    assert problem.unquantized is None
    assert problem.float_search.accuracy == pytest.approx(accuracy(network, made, picked=False))
    assert 70 < problem.float_search.accuracy < 95
    steps = len(problem.searchable)
    agent = ADRL(env=env, profile_images=8, seed=0, warmup_episodes=1)
    agent.learn(2 * steps)
    actions = agent.replay_buffer.actions[steps : 2 * steps, 0, 0]  # type: ignore[union-attr]
    bits = problem.project([bits_from_action(float(action), *BITS) for action in actions])
    quantized = problem.quantized(bits)
    measured = problem.evaluate(bits)
    assert measured.accuracy == pytest.approx(accuracy(quantized.network, made))
    costs = problem.costs([bits], "accuracy")  # (1, N)
    assert 100 - costs.mean() == pytest.approx(measured.accuracy)
    refitted = refit(problem, bits)
    assert problem.measure(refitted).kl < problem.measure(quantized).kl
    save_packed(tmp_path / "packed", refitted)
    loaded = load_packed(tmp_path / "packed", network)  # the network as the user has it
    assert accuracy(loaded, made, picked=False) == pytest.approx(problem.measure(refitted).accuracy)
    again = QuantProblem(with_output(network, output), problem.splits, problem.config)
    assert again.evaluate(bits) == measured
    assert again.evaluations == 0, "the cache on disk knows it"


def test_networks_are_cut_and_evaluated_in_parts() -> None:
    for name in CASES:
        network, x, y, output, _, _ = case(name)
        splits = Splits(ImageSet(x, torch.where(y == 255, -100, y)), None, "made")
        problem = QuantProblem(with_output(network, output), splits, quantizer="linear", budget=0.3, bits=BITS)
        bits = [3] * len(problem.layers)
        problem.evaluate(bits)  # a warning, that it cannot be partitioned, would be an error
        assert problem.measure(problem.quantized(bits)).kl == pytest.approx(problem.evaluate(bits).kl, rel=1e-3)


def test_metrics_at_positions_are_those_of_each_position() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, reference = torch.randn(4, 5, 3, 2, generator=draw), torch.randn(4, 5, 3, 2, generator=draw)
    labels = torch.randint(5, (4, 3, 2), generator=draw)
    labels[0], labels[1, 0, 0] = -100, -100
    kept = (labels != -100).flatten()
    rows = [t.movedim(1, -1).reshape(-1, 5)[kept] for t in (logits, reference)]  # (P, 5) each
    one = sample_metrics(logits[None], reference, labels)[0]
    expected = sample_metrics(rows[0][None], rows[1], labels.flatten()[kept])[0].metrics()
    found = one.metrics()
    for of in ("accuracy", "agreement", "kl", "loss"):
        assert getattr(found, of) == pytest.approx(getattr(expected, of), rel=1e-5)
    assert unpack_metrics(pack_metrics(one)).metrics() == found
    assert one.counted is not None
    assert one.counted.tolist() == [0, 5, 6, 6]
    tokens = sample_metrics(logits.flatten(2).mT[None], reference.flatten(2).mT, labels.flatten(1))[0]
    assert np.array_equal(tokens.wrong, one.wrong)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"output": None}, r"Segmentation returns a OrderedDict with 'out', 'aux' for one image: say which"),
        ({"output": "logits"}, r"returns a OrderedDict with 'out', 'aux', so there is no output 'logits'"),
        ({"output": 0}, "so there is no output 0"),
        (
            {"ignore_index": 254},
            "label 255 of image 0 is out of range: .* 4 outputs, .*; give the label .* ignore_index",
        ),
        (
            {"labels": lambda y: y[:, :4]},
            r"labels of one image have shape \(4, 8\), and Segmentation returns \(1, 4, 8, 8\)",
        ),
        ({"labels": lambda y: y[:, 0, 0] % 4}, r"logits .* are needed, or labels of every position \(images, 8, 8\)"),
        ({"labels": lambda y: y * 0 + 255}, "all labels are ignored"),
    ],
)
def test_outputs_and_labels_that_cannot_be(changes: dict[str, Any], message: str) -> None:
    network, x, y, output, ignored, _ = case("segmentation")
    labels = changes.pop("labels", lambda y: y)(y)
    keywords = {"output": output, "ignore_index": ignored, **changes}
    with pytest.raises(AdrlGymError, match=message):
        gym.make("adrl_gym/MixedPrecisionQuant-v0", network=network, data=[(x, labels)], **keywords)


def test_onnx_of_a_picked_output(tmp_path: Path) -> None:
    network, x, y, output, _, _ = case("segmentation")
    images = ImageSet(x, torch.where(y == 255, -100, y))
    problem = QuantProblem(with_output(network, output), Splits(images, None, "made"), budget=0.3, bits=BITS)
    save_onnx(tmp_path / "network.onnx", problem.quantized([4, 8]), x)


FILE = """
from branches import make as plain

def make():
    network = plain()
    network.pretrained_cfg = network.pretrained_cfg
    forward = type(network).forward
    network.__class__ = type("Pair", (type(network),), {"forward": lambda self, x: {"y": forward(self, x), "x": x}})
    return network
"""


@pytest.mark.usefixtures("scripts", "no_pictures")
def test_the_command_line_picks_it_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(FILE)
    data = make_pictures(tmp_path / "images", 3, 6)
    own = ["--network", f"{tmp_path / 'mine.py'}:make", "--data-root", str(data)]
    quick = ["--method", "uniform", "--quantizer", "linear", "--images", "8", "--budget", "0.15"]
    assert run_command("search", [*own, *quick, "--output", str(tmp_path / "run")]) == 2
    assert "Pair returns a dict with 'y', 'x' for one image: say which part" in capsys.readouterr().err
    assert run_command("search", [*own, *quick, "--logits", "y", "--output", str(tmp_path / "run")]) == 0
    assert run_command("refit", [str(tmp_path / "run"), "--data-root", str(data)]) == 0
    assert run_command("export", [str(tmp_path / "run"), "--data-root", str(data), "--format", "packed"]) == 0
