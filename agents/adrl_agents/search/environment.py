"""The environment that a search's options ask for."""

import time
import warnings
from typing import Any

import gymnasium as gym

from adrl_agents.options import Options, picked_output, spec_of
from adrl_gym.bits import parse_keep
from adrl_gym.envs import ActionType
from adrl_gym.progress import bar


def make_env(options: Options, action_type: ActionType = "continuous") -> tuple[gym.Env[Any, Any], float]:
    """The environment of these options, and the seconds that it took to make it."""
    keywords: dict[str, Any] = {
        "budget": options.budget,
        "cost_table": options.cost_table,
        "quantizer": options.quantizer,
        "bias_correction": options.bias_correction,
        "calibration": options.calibration,
        "activations": options.activations,
        "activation_range": options.activation_range,
        "images": options.images,
        "keep": parse_keep(options.keep),
        "device": options.device,
        "cache": options.cache_file(),
        "activation_memory": int(options.activation_gib * 2**30),
        "workers": options.workers,
        "profile_precision": options.profile_precision,
        "action_type": action_type,
        "progress": True,
    }
    own = spec_of(options.environment).kwargs
    if options.bits is not None:
        keywords["bits"] = options.bits
    if options.mean or options.std:
        keywords |= {"mean": options.mean, "std": options.std}
    if options.logits is not None:
        keywords["output"] = picked_output(options.logits)
    if options.network is not None:
        keywords["network"] = options.network
    if isinstance(own.get("network", ""), str):  # a named network; one's own brings its data and weights along
        keywords |= {"data_root": options.data_root, "download": options.download, "weights": options.weights}
        if options.data != "auto" or "data" not in own:
            keywords["data"] = options.data
    start = time.monotonic()
    with bar("loading"), warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* stay float", UserWarning)  # said later, as a note
        env = gym.make(options.environment, **keywords)
    if options.finetune_images:
        from adrl_gym.wrappers import FinetunedReward  # a search without it imports no training

        env = FinetunedReward(env, options.finetune_images)
    return env, time.monotonic() - start
