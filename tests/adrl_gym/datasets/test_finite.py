"""Networks that cannot be searched: their logits are not finite, or not the same twice."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from adrl_gym import AdrlGymError, QuantProblem
from adrl_gym.datasets.own import own_splits

Batches = list[tuple[Tensor, Tensor]]


def search(network: nn.Module, batches: Batches) -> None:
    problem = QuantProblem(network, own_splits(batches, 100), quantizer="linear", budget=0.2)
    problem.evaluate((2,) * len(problem.layers))


@pytest.mark.parametrize(
    ("buffer", "value"), [("running_var", torch.nan), ("running_mean", torch.nan), ("running_mean", torch.inf)]
)
def test_a_buffer_that_spoils_the_logits_is_named(buffer: str, value: float) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(144, 5)).eval()
    network[1].get_buffer(buffer)[1] = value
    data = [(torch.randn(20, 3, 8, 8), torch.zeros(20, dtype=torch.long))]
    with pytest.raises(AdrlGymError, match=rf"NaN or infinite logits, and its 1\.{buffer} holds NaN"):
        search(network, data)


def test_a_bias_that_spoils_the_logits_is_named(tiny: nn.Module, batches: Batches) -> None:
    tiny.get_parameter("fc1.bias").data[0] = torch.nan
    with pytest.raises(AdrlGymError, match=r"its fc1\.bias holds NaN"):
        search(tiny, batches)


class Squares(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(192, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(x.flatten(1).square())  # (B, 5)


def test_one_image_that_overflows_is_named(batches: Batches) -> None:
    images, labels = batches[0]
    images[61] = 1e30
    with pytest.raises(AdrlGymError, match="Squares gives NaN or infinite logits for image 61"):
        search(Squares().eval(), [(images, labels)])


def test_a_mask_of_infinities_is_no_fault(tiny: nn.Module, batches: Batches) -> None:
    tiny.register_buffer("mask", torch.full((3,), -torch.inf))
    search(tiny, batches)


def normed() -> nn.Sequential:
    layers = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("1.running_mean", torch.inf),
        ("1.running_var", torch.inf),
        ("0.bias", -torch.inf),
        ("1.bias", -torch.inf),
    ],
)
def test_what_a_relu_hides_is_named(batches: Batches, name: str, value: float) -> None:
    network = normed()
    network.state_dict()[name][1] = value
    with pytest.raises(AdrlGymError, match=rf"Sequential computes with {name}, which holds NaN .* logits are finite"):
        search(network, batches)


class Aside(nn.Module):
    """Has a module that training alone runs, and numbers that are not finite on purpose."""

    def __init__(self) -> None:
        super().__init__()
        self.main, self.auxiliary = normed(), normed()
        self.auxiliary[1].get_buffer("running_mean")[0] = torch.nan
        self.mask = nn.Parameter(torch.tensor([0.0, -torch.inf, 0.0, 0.0, 0.0]), requires_grad=False)
        self.register_buffer("best", torch.tensor(torch.nan))

    def forward(self, x: Tensor) -> Tensor:
        return self.main(x) + self.mask.clamp_min(-5)  # (B, 5)


def test_what_is_not_computed_with_is_no_fault(batches: Batches) -> None:
    search(Aside().eval(), batches)


def test_a_mask_is_not_blamed_for_a_bad_weight(tiny: nn.Module, batches: Batches) -> None:
    tiny.register_buffer("amask", torch.full((3,), -torch.inf))
    tiny.get_parameter("fc2.bias").data[0] = torch.nan
    with pytest.raises(AdrlGymError, match=r"its fc2\.bias holds NaN"):
        search(tiny, batches)


def test_attention_runs_parameters_of_modules_that_do_not_run() -> None:
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(4, 2, batch_first=True, add_zero_attn=True)
            self.fc = nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.fc(self.attention(x, x, x)[0].mean(1).relu())  # (B, 3)

    network = Attention().eval()
    network.get_parameter("attention.out_proj.bias").data[0] = -torch.inf
    data = [(torch.randn(20, 6, 4), torch.zeros(20, dtype=torch.long))]
    with pytest.raises(AdrlGymError, match=r"computes with attention\.out_proj\.bias"):
        search(network, data)


class Dropping(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.conv, self.fc = kind, nn.Conv2d(3, 8, 3), nn.Linear(288, 5)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "noise":
            x = x + torch.randn_like(x)
        x = self.conv(x).relu().flatten(1)  # (B, 288)
        if self.kind == "dropout":
            x = F.dropout(x)
        if self.kind == "counter":
            self.fc.bias.data += 1
        return self.fc(x)


@pytest.mark.parametrize("kind", ["dropout", "noise", "counter"])
def test_a_network_that_is_random_in_evaluation_mode_is_refused(batches: Batches, kind: str) -> None:
    with pytest.raises(AdrlGymError, match=r"Dropping gives other logits each time .*training=self\.training"):
        search(Dropping(kind).eval(), batches)


def test_dropout_that_is_off_is_no_fault(batches: Batches) -> None:
    search(nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(192, 5)).eval(), batches)


class Mixing(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind, self.conv, self.norm = (
            kind,
            nn.Conv2d(3, 4, 3),
            nn.BatchNorm2d(4, track_running_stats=kind != "bare"),
        )
        self.attention, self.fc = nn.MultiheadAttention(4, 2), nn.Linear(4, 5)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "training":
            self.norm.train()
        x = self.norm(self.conv(x)).flatten(2).mT.square()  # (B, T, 4)
        if self.kind == "attention":
            x = self.attention(x, x, x)[0]  # which takes the images for steps in time
        return self.fc(x.mean(1))


@pytest.mark.parametrize("kind", ["bare", "training", "attention"])
def test_a_network_that_mixes_images_is_refused(batches: Batches, kind: str) -> None:
    with pytest.raises(AdrlGymError, match=r"Mixing gives other logits for an image when others are beside it"):
        search(Mixing(kind).eval(), batches)
