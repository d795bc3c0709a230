"""A network of one's own, as the tutorial has it: four shapes told apart, images and all made by this file.

    python docs/tutorial/shapes.py FOLDER

draws FOLDER/images, one folder a class in train/ and val/, and trains the network: FOLDER/shapes.safetensors.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

CLASSES = ("circle", "cross", "square", "triangle")
SIZE, MEAN, STD = 32, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)


class Shapes(nn.Module):
    """Batch norm, a depthwise and a grouped convolution, two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(16)
        self.depthwise = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
        self.depthwise_norm = nn.BatchNorm2d(16)
        self.left = nn.Conv2d(16, 32, 1, bias=False)
        self.right = nn.Conv2d(16, 32, 3, padding=1, groups=4, bias=False)
        self.norm = nn.BatchNorm2d(32)
        self.last = nn.Conv2d(32, 32, 3, stride=2, padding=1, bias=False)
        self.last_norm = nn.BatchNorm2d(32)
        self.fc = nn.Linear(32, len(CLASSES))
        # What images this network takes, in the words of timm: so the command lines know how to prepare them.
        self.pretrained_cfg = {"input_size": (3, SIZE, SIZE), "mean": MEAN, "std": STD}

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, 4)`` of images ``(B, 3, 32, 32)``."""
        x = self.stem_norm(self.stem(x)).relu()  # (B, 16, 16, 16)
        x = x + self.depthwise_norm(self.depthwise(x)).relu()  # (B, 16, 16, 16)
        x = self.norm(self.left(x) + self.right(x)).relu()  # (B, 32, 16, 16)
        x = self.last_norm(self.last(x)).relu()  # (B, 32, 8, 8)
        return self.fc(x.amax((2, 3)))  # (B, 4)


def make() -> nn.Module:
    """The factory that the command lines call: the network without its weights."""
    return Shapes()


def trained(folder: str) -> nn.Module:
    """The network with the weights of ``folder``."""
    network = make()
    network.load_state_dict(load_file(Path(folder) / "shapes.safetensors"))
    return network.eval()


def loader(folder: str, split: str) -> "DataLoader[tuple[Tensor, Tensor]]":
    """Batches of images ``(B, 3, 32, 32)`` and classes ``(B,)`` of ``train`` or ``val``."""
    prepare = transforms.Compose([transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    images = datasets.ImageFolder(str(Path(folder) / "images" / split), prepare)
    return DataLoader(images, batch_size=50, shuffle=split == "train")


def draw(shape: str, dice: np.random.Generator) -> Image.Image:
    """One picture: the shape at some place, in some size and colour, on noise of another colour."""
    radius = dice.uniform(5, 10)
    x, y = dice.uniform(radius + 1, SIZE - radius - 1, 2)
    noise = dice.integers(60, 196, (SIZE, SIZE, 1)) * dice.uniform(0.3, 1, 3)  # (32, 32, 3)
    picture = Image.fromarray(noise.astype(np.uint8))
    pen, colour = ImageDraw.Draw(picture), tuple(dice.integers(60, 256, 3).tolist())
    left, top, right, bottom = x - radius, y - radius, x + radius, y + radius
    if shape == "circle":
        pen.ellipse((left, top, right, bottom), colour)
    elif shape == "square":
        pen.rectangle((left, top, right, bottom), colour)
    elif shape == "triangle":
        pen.polygon([(x, top), (left, bottom), (right, bottom)], colour)
    else:
        pen.line((left, y, right, y), colour, width=4)
        pen.line((x, top, x, bottom), colour, width=4)
    return picture


def draw_all(folder: str) -> None:
    """150 pictures of each class to train on, 50 to test on, in one folder a class."""
    dice = np.random.default_rng(0)
    for split, count in (("train", 150), ("val", 50)):
        for shape in CLASSES:
            place = Path(folder) / "images" / split / shape
            place.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                draw(shape, dice).save(place / f"{index:03d}.png")


def train(folder: str, epochs: int = 12) -> None:
    """Train as one always does; nothing here knows of quantization."""
    torch.manual_seed(0)
    network, images = make(), loader(folder, "train")
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, epochs * len(images))
    for _ in range(epochs):
        for x, y in images:
            optimizer.zero_grad()
            nn.functional.cross_entropy(network(x), y).backward()
            optimizer.step()
            schedule.step()
    with torch.inference_mode():
        right = [network.eval()(x).argmax(1) == y for x, y in loader(folder, "val")]
    print(f"float network: {100 * torch.cat(right).float().mean():.1f} % of {len(torch.cat(right))} images in val/")
    save_file(network.state_dict(), Path(folder) / "shapes.safetensors")


if __name__ == "__main__":
    draw_all(sys.argv[1])
    train(sys.argv[1])
