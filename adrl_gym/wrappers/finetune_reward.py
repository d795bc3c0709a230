"""HAQ's protocol: a configuration is finetuned for a moment before it is measured."""

from typing import Any

import gymnasium as gym
import torch

from adrl_gym.bits import BitConfig
from adrl_gym.datasets import ImageSet
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import Metrics
from adrl_gym.problem import QuantProblem
from adrl_gym.qat import Feed, Finetuning, FloatTeacher, Trainer


class FinetunedReward(gym.Wrapper[Any, Any, Any, Any]):
    """Reward and measurements of the last step are those after one pass over some training images.

    Every configuration begins with its directly quantized weights and sees the same images in the same order, so that
    the same bits give the same reward; that of bits that came before is remembered. ADRL's indicator goes on to measure
    networks as they were quantized, which is what makes it cheap here. Source: Wang et al., "HAQ", CVPR 2019, who
    retrain for one epoch before the reward. Finetuning is no part of ``evaluations``, only of seconds.

    Args:
        env: of this package, whose data has training images.
        images: how many of them.

    Raises:
        AdrlGymError: there are no training images, or fewer.
    """

    def __init__(self, env: gym.Env[Any, Any], images: int) -> None:
        super().__init__(env)
        self.problem: QuantProblem = env.unwrapped.problem  # type: ignore[attr-defined]
        problem = self.problem
        train = None if problem.splits.train is None else problem.splits.train()
        if train is None or len(train) < images:
            there = "none" if train is None else f"{len(train):,}"
            raise AdrlGymError(
                f"--finetune-images {images}: the data has {there} to train on ({problem.splits.source}); "
                "choose fewer, or other --data"
            )
        self._settings = Finetuning(epochs=1)
        chosen = ImageSet(*train.take(torch.arange(images)))
        self._feed = Feed(chosen, self._settings.batch_size, self._settings.mirror)
        self._device = next(problem.network.parameters()).device
        self._teacher = FloatTeacher(problem.network, problem.splits.search, self._device)
        self._known: dict[tuple[int, ...], Metrics] = {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """See ``MixedPrecisionQuantEnv.step``."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated:
            bits = tuple(info["bits"])
            if bits not in self._known:
                self._known[bits] = self.problem.measure(self.finetuned(bits))
            after = self._known[bits]
            reward = 0.1 * (after.accuracy - self.problem.float_search.accuracy)
            info = {**info, "accuracy": after.accuracy, "agreement": after.agreement, "kl": after.kl}
        return observation, float(reward), terminated, truncated, info

    def test(self, bits: tuple[int, ...]) -> Metrics:
        """A configuration on the test images, finetuned like for its reward."""
        return self.problem.measure(self.finetuned(bits), "test")

    def finetuned(self, bits: tuple[int, ...]) -> torch.nn.Module:
        """The network of these bits after its pass, on the CPU."""
        problem = self.problem
        names = [layer.name for layer in problem.layers]
        trainer = Trainer(
            problem.quantized(bits, recipe="direct"),
            BitConfig.from_dict(dict(zip(names, bits, strict=True))),
            quantizer=problem.quantizer,
            teacher=self._teacher,
            feed=self._feed,
            settings=self._settings,
            precision="float32",
            device=self._device,
        )
        trainer.train_epoch(1)
        return trainer.network()
