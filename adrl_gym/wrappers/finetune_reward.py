"""HAQ's protocol: a configuration is finetuned for a moment before it is measured."""

from collections.abc import Sequence
from typing import Any

import gymnasium as gym
import torch

from adrl_gym.datasets import ImageSet
from adrl_gym.envs import problem_of
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import Metrics
from adrl_gym.qat import Feed, Finetuning, FloatTeacher, Trainer
from adrl_gym.quantization import QuantizedNetwork


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
        self.problem = problem_of(env)
        problem = self.problem
        train = None if problem.splits.train is None else problem.splits.train()
        if train is None or len(train) < images:
            there = "none" if train is None else f"{len(train):,}"
            raise AdrlGymError(
                f"{images:,} images to finetune on, but the data has {there} to train on ({problem.splits.source}): "
                "choose fewer, or other data",
                parameter=("finetune_images", "data"),
            )
        self._settings = Finetuning(epochs=1)
        chosen = ImageSet(*train.take(torch.arange(images)))
        self._feed = Feed(chosen, self._settings.batch_size, self._settings.horizontal_flip)
        self._device = next(problem.network.parameters()).device
        self._teacher = FloatTeacher(problem.network, problem.splits.search, self._device)
        self._known: dict[tuple[int, ...], Metrics] = {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """See ``MixedPrecisionQuantEnv.step``."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if terminated:
            reward, info = self._finetuned(info)
        return observation, float(reward), terminated, truncated, info

    def measure(self, bits: Sequence[int]) -> tuple[float, dict[str, Any]]:
        """See ``MixedPrecisionQuantEnv.measure``."""
        _, info = self.env.get_wrapper_attr("measure")(bits)
        return self._finetuned(info)

    def test(self, bits: Sequence[int]) -> Metrics:
        """Measure a configuration on the test images, finetuned like for its reward."""
        return self.problem.measure(self.finetuned(bits), "test")

    def finetuned(self, bits: Sequence[int]) -> QuantizedNetwork:
        """Return the network of these bits after its pass, on the CPU."""
        trainer = Trainer(
            self.problem.quantized(bits, calibration="independent"),
            teacher=self._teacher,
            feed=self._feed,
            settings=self._settings,
            precision="float32",
            device=self._device,
        )
        trainer.train_epoch(1)
        return trainer.network()

    def _finetuned(self, info: dict[str, Any]) -> tuple[float, dict[str, Any]]:
        """Reward and ``info`` of the last step, as they are after finetuning."""
        bits = tuple(info["bits"])
        if bits not in self._known:
            self._known[bits] = self.problem.measure(self.finetuned(bits))
        after = self._known[bits]
        reward = 0.1 * (after.accuracy - self.problem.float_search.accuracy)
        return reward, {**info, "accuracy": after.accuracy, "agreement": after.agreement, "kl": after.kl}
