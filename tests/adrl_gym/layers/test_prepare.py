"""Compiled, pruned, parametrised, lazy, scripted and exported networks, and those that cannot be copied or hashed."""

import threading
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune

from adrl_gym import AdrlGymError
from adrl_gym.datasets import ImageSet, Splits
from adrl_gym.layers import prepared
from adrl_gym.models import own_network
from adrl_gym.problem import QuantProblem


def conv(change: Any = None) -> nn.Sequential:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten()).eval()
    if change is not None:
        change(network[0])
    return network


def problem_of(network: nn.Module) -> QuantProblem:
    x = torch.randn(8, 3, 6, 6)
    return QuantProblem(network, Splits(ImageSet(x, torch.zeros(8, dtype=torch.long)), None, "made", "made"))


def compiled_inside() -> nn.Module:
    network = nn.Sequential(conv())
    network._modules["0"] = cast("nn.Module", torch.compile(conv(), backend="eager"))
    return network


def compiled_in_place() -> nn.Module:
    network = nn.Sequential(conv())
    network.compile(backend="eager")
    return network


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: torch.compile(conv(), backend="eager"), "0"),
        (compiled_inside, "0.0"),
        (compiled_in_place, "0.0"),
    ],
)
def test_compiled_networks_are_unwrapped(make: Any, name: str) -> None:
    network = make()
    problem = problem_of(network)
    assert [layer.name for layer in problem.layers] == [name]
    assert problem.evaluate([8]).kl < 0.1
    assert own_network(network).name == "Sequential"


def test_the_user_s_network_stays_compiled() -> None:
    network = compiled_inside()
    prepared(network)
    assert hasattr(network.get_submodule("0"), "_orig_mod")


def test_what_is_not_compiled_stays_itself() -> None:
    network = conv()
    assert prepared(network) is network


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        (parametrizations.weight_norm, "remove_parametrizations"),
        (parametrizations.spectral_norm, "remove_parametrizations"),
        (parametrizations.orthogonal, "remove_parametrizations"),
        (lambda module: prune.l1_unstructured(module, "weight", 0.5), r"prune\.remove"),
        (lambda module: prune.random_structured(module, "weight", 0.5, dim=0), r"prune\.remove"),
        (nn.utils.weight_norm, "remove_weight_norm"),
        (nn.utils.spectral_norm, "remove_spectral_norm"),
    ],
)
@pytest.mark.filterwarnings("ignore")
def test_computed_weights_are_told_with_the_remedy(change: Any, remedy: str) -> None:
    with pytest.raises(AdrlGymError, match=f"computed in every pass: call .*{remedy}"):
        problem_of(conv(change))
    mixed = nn.Sequential(nn.Conv2d(3, 3, 1), *conv(change)).eval()
    for parameter in mixed.parameters():
        parameter.requires_grad_(False)
    try:
        note = str(problem_of(mixed).unquantized)
    except AdrlGymError as error:
        note = str(error)
    assert "the weight of module 1 is computed in every pass" in note


def with_buffer() -> nn.Module:
    linear = nn.Linear(108, 3)
    del linear.bias
    linear.register_buffer("bias", torch.zeros(3))
    return nn.Sequential(nn.Flatten(), linear)


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda: conv(lambda m: prune.l1_unstructured(m, "bias", 0.5)), r'call .*prune\.remove\(module, "bias"\)'),
        (lambda: conv(lambda m: parametrizations.weight_norm(m, "bias", dim=0)), r'call .*izations\(module, "bias"'),
        (
            with_buffer,
            r"1\.bias is no parameter, .*: make it an nn\.Parameter",
        ),
    ],
)
def test_a_computed_bias_is_told_with_the_remedy(make: Any, told: str) -> None:
    with pytest.raises(AdrlGymError, match=told):
        problem_of(make())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("change", [nn.utils.weight_norm, lambda m: prune.l1_unstructured(m, "weight", 0.5)])
def test_reason_and_remedy_fit_three_lines(change: Any) -> None:
    network = nn.Sequential(*(nn.Conv2d(3, 3, 1) for _ in range(5)), nn.Flatten()).eval()
    for module in network[:5]:
        change(module)
    with pytest.raises(AdrlGymError, match=r"the weight of module 0 \(and 4 more\) is computed in every pass") as told:
        problem_of(network)
    assert len(str(told.value)) <= 3 * 80


def lazy() -> nn.Sequential:
    return nn.Sequential(
        nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten(), nn.LazyLinear(5), nn.Linear(5, 2)
    )


def test_lazy_modules_get_their_shapes_from_the_images() -> None:
    network = lazy()
    problem = problem_of(network)
    assert [layer.weight_shape for layer in problem.layers] == [(4, 3, 3, 3), (5, 64), (2, 5)]
    assert isinstance(network[0], nn.Conv2d)
    assert problem.evaluate([8] * 3).kl < 0.1
    twin = lazy()
    twin[5] = network[5]
    assert problem_of(twin).checkpoint == problem.checkpoint, (
        "weights are drawn alike, so that runs can be gone on with"
    )
    refitted = problem.quantized([4] * 3, "sequential")
    assert problem.measure(refitted).kl < 0.5


@pytest.mark.parametrize(
    ("layer", "size"),
    [
        (lambda: nn.LazyConv1d(4, 3), (3, 6)),
        (lambda: nn.LazyConv3d(4, 3), (1, 4, 4, 4)),
        (lambda: nn.LazyConvTranspose2d(4, 3), (3, 6, 6)),
    ],
)
def test_lazy_convolutions_of_other_kinds(layer: Any, size: tuple[int, ...]) -> None:
    network = nn.Sequential(layer(), nn.Flatten(), nn.LazyLinear(3))
    images = ImageSet(torch.randn(8, *size), torch.zeros(8, dtype=torch.long))
    assert len(QuantProblem(network, Splits(images, None, "made", "made")).layers) == 2


def test_a_lazy_network_says_what_images_it_takes() -> None:
    network = lazy()
    network.pretrained_cfg = {"input_size": (3, 6, 6)}  # type: ignore[assignment]
    loaded = own_network(network)
    assert loaded.checkpoint == problem_of(network).checkpoint
    assert own_network(lazy()).checkpoint == ""


class Unused(nn.Module):
    """Has a lazy module that never runs."""

    def __init__(self) -> None:
        super().__init__()
        self.used, self.other = nn.LazyLinear(4), nn.LazyLinear(4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.used(x.flatten(1))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (Unused, r"other\.weight of Unused is lazy, and no forward pass gives it a shape: take that module out"),
        (lambda: nn.Sequential(nn.LazyConv2d(4, 9), nn.Flatten()), r"images of shape \(3, 6, 6\) do not fit"),
    ],
)
def test_lazy_modules_that_get_no_shape(make: Any, message: str) -> None:
    with pytest.raises(AdrlGymError, match=message):
        problem_of(make())


class Casting(nn.Module):
    """Computes in another precision, and gives float32."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.fc = nn.Linear(108, 4).to(dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x.flatten(1).to(self.fc.weight.dtype)).float()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_told_the_remedy(dtype: torch.dtype) -> None:
    with pytest.raises(AdrlGymError, match=rf"weights of {dtype}, and is searched in .*: call network\.float\(\)"):
        problem_of(nn.Sequential(nn.Flatten(), nn.Linear(108, 4)).to(dtype))
    with pytest.raises(AdrlGymError, match=rf"fc\.weight is {dtype}, .*: call network\.float\(\)"):
        problem_of(Casting(dtype))
    assert problem_of(Casting(dtype).float()).evaluate([8]).kl < 0.1


class Locked(nn.Module):
    """Holds a lock."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.lock = nn.Conv2d(3, 4, 3), threading.Lock()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).flatten(1)


class Extra(nn.Sequential):
    """Has a state of its own."""

    def get_extra_state(self) -> Any:
        return {"epoch": 3}

    def set_extra_state(self, state: Any) -> None:
        pass


def inference() -> nn.Module:
    with torch.inference_mode():
        return nn.Sequential(nn.Conv2d(3, 4, 3))


def observed() -> nn.Module:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten()).train()
    network.qconfig = torch.ao.quantization.get_default_qat_qconfig("fbgemm")
    return cast("nn.Module", torch.ao.quantization.prepare_qat(network))


def dynamic() -> nn.Module:
    network = nn.Sequential(nn.Flatten(), nn.Linear(108, 4))
    return cast("nn.Module", torch.ao.quantization.quantize_dynamic(network, {nn.Linear}))


@pytest.mark.filterwarnings("ignore")
def test_stubs_for_another_quantization_do_no_harm() -> None:
    stub = torch.ao.quantization.QuantStub()
    assert problem_of(nn.Sequential(stub, *conv())).evaluate([8]).kl < 0.1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (observed, r"0\..* of Sequential is a .* of torch\.ao\.quantization: give the float network, as it was before"),
        (dynamic, r"1.* of Sequential is a .* of torch\.ao\.quantization: give the float network"),
        (Locked, "Locked cannot be copied .*lock"),
        (lambda: Extra(nn.Conv2d(3, 4, 3), nn.Flatten()), "_extra_state of Extra's state dict is no tensor but dict"),
        (lambda: nn.Sequential(nn.Conv2d(3, 4, 3)).to("meta"), "0.weight of Sequential is on the device meta"),
        (inference, "0.weight of Sequential was made in torch.inference_mode"),
        (lambda: torch.export.export(conv(), (torch.zeros(1, 3, 6, 6),)).module(), "give the nn.Module it was made"),
        (lambda: torch.jit.trace(conv(), torch.zeros(1, 3, 6, 6)), "is scripted.*give the nn.Module it was made"),
    ],
)
@pytest.mark.parametrize("use", [problem_of, own_network])
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_searched_ends_in_one_error(make: Any, message: str, use: Any) -> None:
    with pytest.raises(AdrlGymError, match=message):
        use(make())
