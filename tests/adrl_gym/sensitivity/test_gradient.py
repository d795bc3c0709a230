"""Expansions of the divergence by gradients, against the plain computation and against measurements."""

import copy
import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn

from adrl_agents.adrl import ProfilingIndicator
from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.layers import own_params, quantizable
from adrl_gym.sensitivity import Expansion, GradientSensitivity, fisher_vectors, sensitivity_tables
from adrl_gym.sensitivity.gradient import VECTORS
from adrl_gym.sensitivity.projection import Projector
from adrl_gym.sensitivity.tables import GradientSurrogate, GradientTables, MeasuredTables


class Mixed(nn.Module):
    """Depthwise, grouped and transposed convolutions, a layer used twice, and an activation written in place."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False)
        self.grouped = nn.Conv2d(8, 8, 1, groups=2)
        self.up = nn.ConvTranspose2d(8, 8, 2, stride=2, bias=False)
        self.twice = nn.Linear(8, 8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, 5)``."""
        x = torch.relu_(self.first(x))
        x = torch.relu_(self.up(torch.tanh(self.grouped(self.depthwise(x)))))
        x = torch.tanh(self.twice(x.mean((2, 3))))
        return self.head(self.twice(x))


class Detached(nn.Module):
    """Autograd cannot follow it to its first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, 6, 3), nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, 5)``."""
        return self.fc(self.conv(x).relu().mean((2, 3)).detach())


def problem_with(network: nn.Module, images: int = 40, **settings: Any) -> QuantProblem:
    data = torch.randn(images, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    labels = torch.zeros(images, dtype=torch.int64)
    options = {"quantizer": "linear", "budget": 0.12, **settings}
    env = gym.make("adrl_gym/MixedPrecisionQuant-v0", network=network, data=[(data, labels)], **options)
    found: QuantProblem = env.unwrapped.problem  # type: ignore[attr-defined]
    return found


@pytest.fixture
def mixed() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = Mixed().eval()
        with torch.no_grad():
            logits = network(torch.randn(1000, 3, 8, 8))  # (1000, 5)
            network.head.weight *= 2 / logits.std(0)[:, None]
            network.head.bias.copy_(2 * (network.head.bias - logits.mean(0)) / logits.std(0))
        return network


def test_vectors_have_the_fisher_information_as_their_second_moment() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [9.0, 0.0, 0.0]])
    v = fisher_vectors(logits, 20_000, torch.Generator().manual_seed(0)).double()  # (20000, 2, 3)
    q = logits.double().softmax(1)  # (2, 3)
    fisher = torch.diag_embed(q) - q[:, :, None] * q[:, None]  # (2, 3, 3)
    products = v[..., None] * v[:, :, None]  # (20000, 2, 3, 3)
    assert ((products.mean(0) - fisher).abs() <= 5 * products.std(0) / 20_000**0.5 + 1e-7).all()
    assert torch.allclose(v.sum(2), torch.zeros(()).double(), atol=1e-6)  # a constant added to all logits is nothing


@pytest.mark.parametrize("begin", [None, 3])
def test_products_are_those_of_each_images_weight_gradients(mixed: nn.Module, begin: int | None) -> None:
    problem = problem_with(mixed, images=4)
    images = next(problem.splits.search.batches(4))[0]
    v = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))  # (D, B, K)
    projector = Projector(problem, torch.device("cpu"), torch.contiguous_format)
    widths = {layer: [1, 3, 8] for layer in range(len(problem.layers))}
    found = projector.project(images, [begin] * len(widths), widths, lambda _: v)

    network = copy.deepcopy(mixed)
    for layer, spec in enumerate(problem.layers):
        module = quantizable(network, spec)
        weight, bias, _ = own_params(module) if begin is None else problem.quantized_params(layer, begin)
        module.weight = nn.Parameter(weight.clone())
        module.bias = nn.Parameter(torch.zeros(spec.out_channels) if bias is None else bias.clone())
    for layer, spec in enumerate(problem.layers):
        module = quantizable(network, spec)
        own_weight, own_bias = module.weight, module.bias
        assert isinstance(own_bias, nn.Parameter)
        for (d, i), (column, b) in itertools.product(np.ndindex(2, 4), enumerate(widths[layer])):
            projected = (network(images[i : i + 1])[0] * v[d, i]).sum()
            gradients = torch.autograd.grad(projected, [own_weight, own_bias])
            weight, bias, _ = problem.quantized_params(layer, b)
            changes = weight - own_weight, (torch.zeros(()) if bias is None else bias) - own_bias
            terms = [(g * change.detach()).double() for g, change in zip(gradients, changes, strict=True)]
            rounding = 1e-4 * sum(float(term.abs().sum()) for term in terms)  # float32, of many small terms
            expected = sum(float(term.sum()) for term in terms)
            assert float(found[layer][i, d, column]) == pytest.approx(expected, abs=rounding + 1e-12)


def test_nothing_of_the_problem_is_changed(mixed: nn.Module) -> None:
    problem = problem_with(mixed)
    before, logits = problem.evaluate([3] * 6), problem.float_search
    weights = {name: value.clone() for name, value in problem.network.state_dict().items()}
    GradientSensitivity(problem, 40).expand([3] * 6)
    problem.forget()
    assert all(torch.equal(value, weights[name]) for name, value in problem.network.state_dict().items())
    assert (problem.evaluate([3] * 6), problem.evaluate([None] * 6)) == (before, logits)


def test_an_expansion_predicts_whole_configurations() -> None:
    generator = np.random.default_rng(0)
    first, second = generator.normal(size=(7, 3, 4)), generator.normal(size=(7, 2, 3, 4))
    expansion = Expansion(first, second, np.ones((3, 4), dtype=bool))
    for columns in map(np.array, itertools.product(range(4), repeat=3)):
        total = [sum(second[i, d, row, c] for row, c in enumerate(columns)) for i, d in np.ndindex(7, 2)]
        linear = sum(first[:, row, c].mean() for row, c in enumerate(columns))
        assert expansion.change(columns) == pytest.approx(linear + 0.5 * np.mean(np.square(total)))
        further = expansion.costs_at(columns)
        for row, c in np.ndindex(3, 4):
            changed = columns.copy()
            changed[row] = c
            assert further[row, c] == pytest.approx(expansion.change(changed) - expansion.change(columns), abs=1e-12)
    ones = np.full(7, 1 / 7)
    assert expansion.change(np.array([0, 1, 2]), ones) == pytest.approx(expansion.change(np.array([0, 1, 2])))


def test_the_table_ranks_as_the_measured_one_does(mixed: nn.Module, tiny: nn.Module) -> None:
    for network in (mixed, tiny):
        problem = problem_with(network, images=200)
        gradient = GradientTables(problem, 200).alone().costs
        measured = MeasuredTables(problem, "kl", 200).alone().costs
        assert spearmanr(gradient.ravel(), measured.ravel()).statistic > 0.97
        fine = gradient[:, 3:] / measured[:, 3:]  # 4 bits and more
        assert 0.7 < np.median(fine) < 1.4


def test_around_a_configuration_it_predicts_measured_changes(tiny: nn.Module) -> None:
    problem = problem_with(tiny, images=200)
    bits = (3, 3, 3, 3)
    expansion = GradientSensitivity(problem, 200).expand(bits, 2)
    assert (expansion.known == [[b <= 5 for b in range(1, 9)]] * 4).all()
    (own,) = problem.costs([bits], "kl")
    near = [(row, b) for row in range(4) for b in (2, 4, 5)]
    changed = problem.costs([(*bits[:row], b, *bits[row + 1 :]) for row, b in near], "kl")  # (12, 200)
    predicted = [expansion.costs()[row, b - 1] for row, b in near]
    assert np.corrcoef(predicted, (changed - own).mean(1))[0, 1] > 0.95
    assert np.array_equal(expansion.costs()[:, 2], np.zeros(4))
    assert np.isinf(expansion.costs()[:, 5:]).all()


def test_threads_and_repetition_change_nothing(mixed: nn.Module) -> None:
    found = []
    threads = torch.get_num_threads()
    for count in (1, 3, 1):
        torch.set_num_threads(count)
        expansion = GradientSensitivity(problem_with(mixed, images=50), 50).expand([4] * 6, 2)
        found.append((expansion.first, expansion.second))
    torch.set_num_threads(threads)
    for other in found[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(found[0], other, strict=True))


def test_work_is_counted(mixed: nn.Module) -> None:
    problem = problem_with(mixed, images=40)
    source = GradientSensitivity(problem, 10)
    source.expand([None] * 6)
    assert problem.evaluations == pytest.approx((1 + VECTORS + 8) * 10 / 40)
    source.expand([4] * 6, 2)
    assert problem.evaluations == pytest.approx((2 * (1 + VECTORS) + 8 + 1 + 5) * 10 / 40)


def test_layers_at_fixed_bits_stay_there(tiny: nn.Module) -> None:
    problem = problem_with(tiny, images=100, keep={"fc2": 2})
    gradient = GradientTables(problem, 100).alone().costs
    measured = MeasuredTables(problem, "kl", 100).alone().costs
    measured = measured - problem.evaluate(problem.with_fixed([None] * 3), 100).kl  # what the fixed layer costs
    assert gradient.shape == (3, 8)
    assert spearmanr(gradient.ravel(), measured.ravel()).statistic > 0.9


def test_what_autograd_cannot_follow_is_measured() -> None:
    problem = problem_with(Detached().eval())
    with pytest.warns(UserWarning, match="no gradient reaches conv of Detached from its logits"):
        tables = sensitivity_tables(problem, "gradient", "kl", 40)
    assert isinstance(tables, MeasuredTables)


def test_a_layer_that_is_the_same_at_all_bits_within_reach_costs_nothing() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Flatten(), nn.Linear(128, 5)).eval()  # 6 weights: 3 bits are enough
    problem = problem_with(network, quantizer="kmeans", budget=0.3)
    surrogate = GradientTables(problem, 40).around((6, 6), 40)
    costs = surrogate.table(0.0).costs  # (2, 8)
    assert (costs[0, 3:] == 0).all()
    assert costs[1, 3] > 0


def test_other_scores_are_measured(tiny: nn.Module) -> None:
    assert isinstance(sensitivity_tables(problem_with(tiny), "gradient", "agreement", 40), MeasuredTables)


def test_an_unknown_sensitivity_is_refused(tiny: nn.Module) -> None:
    with pytest.raises(AdrlGymError, match="unknown sensitivity 'hessian': choose one of gradient, measured"):
        sensitivity_tables(problem_with(tiny), "hessian", "kl", 40)  # type: ignore[arg-type]


def test_the_minimum_is_better_than_the_incumbent_and_keeps_the_budget(mixed: nn.Module) -> None:
    problem = problem_with(mixed, images=60, budget=0.09)
    bits = problem.project([3] * 6)
    expansion = GradientSensitivity(problem, 60).expand(bits, 2)
    own = np.array(bits) - 1
    surrogate = GradientSurrogate(problem, expansion, bits)
    table = surrogate.table(0.0)
    answer = table.knapsack.complete(())
    assert problem.fits(answer)
    near = [
        columns
        for columns in map(np.array, itertools.product(*[range(max(0, c - 2), min(8, c + 3)) for c in own]))
        if problem.fits((columns + 1).tolist())
    ]
    values = [expansion.change(columns) for columns in near]
    found = expansion.change(np.array(answer) - 1)
    assert found < expansion.change(own)
    assert np.mean(np.array(values) < found) < 0.001  # among all within reach, at most one in a thousand is better
    with torch.random.fork_rng():
        torch.manual_seed(0)
        drawn = [surrogate.draw().knapsack.complete(()) for _ in range(5)]
    assert all(problem.fits(bits) for bits in drawn)


def test_a_search_stays_within_its_evaluations(tiny: nn.Module) -> None:
    problem = problem_with(tiny, images=40, budget=0.1)
    problem.most_evaluations = 16.0
    indicator = ProfilingIndicator(images=40)
    while problem.evaluations + 1 <= problem.most_evaluations and indicator.propose(problem):
        bits = indicator.answer(problem)
        problem.evaluate(bits)
        indicator.update(problem, bits)
    assert problem.evaluations <= problem.most_evaluations
