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
from adrl_gym.quantization import QuantizedNetwork
from adrl_gym.refit import calibration_size, choose_weights


@dataclass(frozen=True, kw_only=True)
class RefitOptions(RunOptions):
    """Options of the refit."""

    images: int | None = None
    """Number of search images to refit on, all if there are fewer; without it up to 1,024, fewer where they are large.
    Their labels are not needed."""
    positions: int | None = None
    """Inputs sampled for each layer, over all images; without it 32 for each image, at least 8,192."""
    seed: int = 0
    """Seed of the sampling."""

    def check(self) -> None:
        """Refuse impossible values before anything is done; raises ``AdrlGymError``."""
        for name in ("images", "positions"):
            asked = getattr(self, name)
            if asked is not None and asked < 1:
                raise AdrlGymError(f"{name} must be at least 1, got {asked}", parameter=name)
        if self.seed < 0:
            raise AdrlGymError(f"seed must be at least 0, got {self.seed}", parameter="seed")


def refit_run(options: RefitOptions) -> dict[str, Any]:
    """Write refit.safetensors and refit.json into the folder of a run; return what refit.json says.

    Where the refitted network is further from the float network than the direct one (KL divergence on images that the
    refit did not see, see ``choose_weights``), the file holds the direct weights instead.

    Raises:
        AdrlGymError: impossible options, or no run to go on from (see ``load_run``).
    """
    options.check()
    run = load_run(options)
    problem, bits = run.problem, run.configuration
    images, positions = calibration_size(problem, options.images, options.positions)
    start = time.monotonic()
    choice = choose_weights(
        problem,
        bits,
        images=options.images,
        positions=options.positions,
        seed=options.seed,
        progress=True,
    )
    seconds = time.monotonic() - start
    held_out = {"direct": choice.direct_kl, "refit": choice.refit_kl}
    measured = _measured(run, None if choice.weights == "direct" else choice.network)
    report = {
        "bits": run.bits.as_dict(),
        "images": images,
        "positions": positions,
        "seed": options.seed,
        "seconds": round(seconds, 3),
        "weights": choice.weights,
        "held_out": choice.held_out,
        "held_out_kl": held_out,
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
    save_packed(file, choice.network)
    write_whole(text, (json.dumps(report, indent=2) + "\n").encode())
    split = "test" if "test_accuracy" in measured else "search"
    name = "test accuracy" if split == "test" else run.accuracy_name
    shown = [
        _change(name, measured[f"{split}_accuracy"]),
        _change("agreement", measured[f"{split}_agreement"]),
        _change("KL", measured[f"{split}_kl"], digits=4),
    ]
    if f"{split}_loss" in measured:
        shown.append(_change("loss", measured[f"{split}_loss"], digits=4))
    print(f"{file}: {', '.join(shown)}, refitted in {seconds:.1f} s")
    if choice.weights == "direct":
        print(
            f"note: refitting made it worse on {choice.held_out} images that it did not see "
            f"({_change('KL', held_out, digits=4)}), so {file.name} holds the direct weights"
        )
    return report


def _change(name: str, values: dict[str, float], digits: int = 2) -> str:
    """Return the value before and after, and that of the float network where it has one."""
    whole = f" (float {values['float']:.{digits}f})" if "float" in values else ""
    return f"{name} {values['direct']:.{digits}f} -> {values['refit']:.{digits}f}{whole}"


def _measured(run: LoadedRun, refitted: QuantizedNetwork | None) -> dict[str, dict[str, float]]:
    """Accuracy and agreement in percent, divergence and loss in nats, for each split that there is.

    ``None`` for ``refitted`` stands for the direct weights.
    """
    problem = run.problem
    found: dict[str, dict[str, float]] = {}
    splits: list[tuple[Split, Metrics | None]] = [("search", problem.float_search), ("test", problem.float_test)]
    for split, whole in splits:
        if whole is None:
            continue
        direct = _direct(run, split)
        metrics = {"direct": direct, "refit": direct if refitted is None else problem.measure(refitted, split)}
        found[f"{split}_accuracy"] = {name: m.accuracy for name, m in metrics.items()} | {"float": whole.accuracy}
        found[f"{split}_agreement"] = {name: m.agreement for name, m in metrics.items()}
        found[f"{split}_kl"] = {name: m.kl for name, m in metrics.items()}
        losses = {name: m.loss for name, m in {**metrics, "float": whole}.items() if m.loss is not None}
        if "direct" in losses:  # not on the search images, of which a search records none
            found[f"{split}_loss"] = losses
    return found


def _direct(run: LoadedRun, split: Split) -> Metrics:
    """Metrics of the network that the search measured, as it recorded them: measuring again would take a minute."""
    problem, result = run.problem, run.result
    accuracy, agreement, kl = (getattr(result, f"{split}_{name}") for name in ("accuracy", "agreement", "kl"))
    own = problem.calibration == "independent" and not result.options.get("finetune_images", 0)
    if None in (accuracy, agreement, kl) or not own:
        return problem.measure(problem.quantized(run.configuration, "independent"), split)
    return Metrics(accuracy, agreement, kl, result.test_loss if split == "test" else None)
