"""Refit the network that a search found, and report what that changed."""

import json
import time
from dataclasses import dataclass
from typing import Any

from adrl_agents.postprocess.run import LoadedRun, RunOptions, load_run
from adrl_agents.postprocess.weights import recipe_file
from adrl_agents.runs import git_commit, package_versions
from adrl_gym.errors import AdrlGymError
from adrl_gym.evaluation import Metrics, Split
from adrl_gym.export import save_packed
from adrl_gym.files import write_whole
from adrl_gym.quantization import CALIBRATION_IMAGES, POSITIONS, QuantizedNetwork
from adrl_gym.refit import refit


@dataclass(frozen=True, kw_only=True)
class RefitOptions(RunOptions):
    """Options of the refit."""

    images: int = CALIBRATION_IMAGES
    """Number of search images to refit on, all if there are fewer; their labels are not needed."""
    positions: int = POSITIONS
    """Inputs sampled for each layer, over all images."""
    seed: int = 0
    """Seed of the sampling."""

    def check(self) -> None:
        """Refuse impossible values before anything is done; raises ``AdrlGymError``."""
        for name in ("images", "positions"):
            if getattr(self, name) < 1:
                raise AdrlGymError(f"{name} must be at least 1, got {getattr(self, name)}", parameter=name)
        if self.seed < 0:
            raise AdrlGymError(f"seed must be at least 0, got {self.seed}", parameter="seed")


def refit_run(options: RefitOptions) -> dict[str, Any]:
    """Write refit.safetensors and refit.json into the folder of a run; return what refit.json says.

    Raises:
        AdrlGymError: impossible options, or no run to go on from (see ``load_run``).
    """
    options.check()
    run = load_run(options)
    problem, bits = run.problem, run.bits.bits
    images = min(options.images, len(problem.splits.search))
    start = time.monotonic()
    network = refit(
        *(problem, bits),
        images=images,
        positions=options.positions,
        seed=options.seed,
        progress=True,
    )
    seconds = time.monotonic() - start
    measured = _measured(run, {"direct": problem.quantized(bits, calibration="independent"), "refit": network})
    report = {
        "bits": run.bits.as_dict(),
        "images": images,
        "positions": options.positions,
        "seed": options.seed,
        "seconds": round(seconds, 3),
        **measured,
        "data": problem.splits.name,
        "quantizer": problem.quantizer,
        "checkpoint": problem.checkpoint,
        "images_hash": problem.images_hash,
        "versions": package_versions(),
        "git_commit": git_commit(),
    }
    file = recipe_file(run, "refit")
    text = file.with_suffix(".json")
    text.unlink(missing_ok=True)  # whatever happens, no report stands beside weights that it does not describe
    save_packed(file, network)
    write_whole(text, (json.dumps(report, indent=2) + "\n").encode())
    search, test = measured["search_accuracy"], measured.get("test_accuracy")
    shown = _shown(run.accuracy_name, search) if test is None else _shown("test accuracy", test)
    print(f"{file}: {shown}, refitted in {seconds:.1f} s")
    if search["refit"] < search["direct"]:
        made_worse = _shown(run.accuracy_name, search)
        print(f"note: refitting made it worse ({made_worse}); --recipe auto keeps the direct weights")
    return report


def _shown(name: str, accuracy: dict[str, float]) -> str:
    return f"{name} {accuracy['direct']:.2f} -> {accuracy['refit']:.2f} (float {accuracy['float']:.2f})"


def _measured(run: LoadedRun, networks: dict[str, QuantizedNetwork]) -> dict[str, dict[str, float]]:
    """Accuracy and agreement in percent, divergence and loss in nats, for each split that there is."""
    problem = run.problem
    found: dict[str, dict[str, float]] = {}
    splits: list[tuple[Split, Metrics | None]] = [("search", problem.float_search), ("test", problem.float_test)]
    for split, whole in splits:
        if whole is not None:
            metrics = {name: problem.measure(network, split) for name, network in networks.items()}
            found[f"{split}_accuracy"] = {name: m.accuracy for name, m in metrics.items()} | {"float": whole.accuracy}
            found[f"{split}_agreement"] = {name: m.agreement for name, m in metrics.items()}
            found[f"{split}_kl"] = {name: m.kl for name, m in metrics.items()}
            if whole.loss is not None:
                losses = {**metrics, "float": whole}
                found[f"{split}_loss"] = {name: m.loss for name, m in losses.items() if m.loss is not None}
    return found
