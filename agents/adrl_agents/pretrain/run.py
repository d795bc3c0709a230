"""One training from options to a policy."""

import dataclasses
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
from stable_baselines3.common.callbacks import BaseCallback

from adrl_agents import interrupts
from adrl_agents.adrl import FamilyADRL
from adrl_agents.pretrain.log import (
    FAMILY_METRICS,
    FamilyEpisode,
    PretrainTensorboardLogger,
    PretrainTracker,
    PretrainWandbLogger,
    draw_mean_reward,
    next_row,
)
from adrl_agents.pretrain.options import PretrainOptions
from adrl_agents.pretrain.problems import family_problems
from adrl_agents.runs import Progress, Row, load_agent, png, read_rows, save_agent, save_policy, write_rows
from adrl_gym.envs import FAMILY_ID
from adrl_gym.errors import AdrlGymError
from adrl_gym.files import write_whole
from adrl_gym.problem import QuantProblem
from adrl_gym.progress import bar

_SAVE_SECONDS = 20.0  # between two savings ...
_SAVE_SHARE = 0.05  # ... which may take at most this share of the time
_STEPS = 10**9  # of ``learn``, which the callback ends


class PretrainFolder:
    """Files of one training, each replaced whole."""

    def __init__(self, path: Path) -> None:
        self.path, self.agent, self.policy = path, path / "agent.zip", path / "policy.zip"
        self.history, self.curve, self.options = path / "episodes.csv", path / "curve.png", path / "options.json"

    def check(self, options: PretrainOptions) -> None:
        """Refuse the folder of another training, or of one that is not to be gone on with; ``AdrlGymError``."""
        if not self.options.exists():
            return
        there, here = json.loads(self.options.read_text()), options.recorded()
        if differing := [name for name in here if there.get(name) != here[name]]:
            name = differing[0]
            raise AdrlGymError(
                f"{self.path} belongs to a training with {name} {there.get(name)}, here {here[name]}: choose another "
                "folder",
                parameter="output",
            )
        if not options.resume:
            raise AdrlGymError(
                f"{self.path} holds a training of these options: go on with --resume, or choose another folder",
                parameter="output",
            )

    def begin(self, options: PretrainOptions) -> None:
        """Make the folder, and write down whose it is; raises ``AdrlGymError`` where it cannot be written."""
        try:
            self.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise AdrlGymError(f"cannot write to {self.path} ({error.strerror})", parameter="output") from error
        write_whole(self.options, (json.dumps(options.recorded(), indent=2) + "\n").encode())

    def rows(self, episodes: int) -> list[FamilyEpisode]:
        """Return the first episodes of the history; raises ``AdrlGymError`` where it has fewer."""
        found = [FamilyEpisode(**{**row, **_numbers(row)}) for row in read_rows(self.history)[:episodes]]
        if len(found) < episodes:
            raise AdrlGymError(f"{self.history} has {len(found)} episodes, and the agent knows {episodes}")
        return found

    def save(self, agent: FamilyADRL, rows: Sequence[FamilyEpisode]) -> None:
        """Write history, policy and curve, and last the agent: what it knows is never trained again, nor written."""
        write_rows(self.history, [dataclasses.asdict(row) for row in rows])
        save_policy(self.policy, agent)
        write_whole(self.curve, png(draw_mean_reward(rows)))
        save_agent(self.agent, agent, Progress(episodes=len(rows), seconds=rows[-1].seconds))


def _numbers(row: Row) -> dict[str, Any]:
    """Return the values of a row of the history that are no text."""
    return {"episode": int(row["episode"]), **{name: float(row[name]) for name in (*FAMILY_METRICS, "seconds")}}


class PretrainCallback(BaseCallback):
    """Records episodes, saves between two of them, and ends ``learn`` after the last one."""

    def __init__(
        self,
        folder: PretrainFolder,
        rows: list[FamilyEpisode],
        episodes: int,
        trackers: Sequence[PretrainTracker],
    ) -> None:
        super().__init__()
        self.rows, self._folder, self._episodes, self._trackers = rows, folder, episodes, trackers
        self._begun = time.monotonic() - (rows[-1].seconds if rows else 0.0)
        self._due = time.monotonic() + _SAVE_SECONDS
        self._bar = bar("training", episodes, "episodes", len(rows))
        self._saved = len(rows)

    def _on_rollout_start(self) -> None:
        if self.rows and (time.monotonic() >= self._due or len(self.rows) >= self._episodes):
            self.save()

    def _on_step(self) -> bool:
        # On the first step of the next episode: by then the agent has learned from the last one, and is saved.
        if len(self.rows) >= self._episodes:
            return False
        for info, reward, done in zip(*(self.locals[key] for key in ("infos", "rewards", "dones")), strict=True):
            if not done:
                continue
            row = next_row(self.rows, info, float(reward), time.monotonic() - self._begun)
            self.rows.append(row)
            for tracker in self._trackers:
                tracker.log(row)
            self._bar.update()
            self._bar.set_postfix_str(f"mean reward {row.mean_reward:+.4f}, the knapsack's is 0")
            interrupts.raise_if_pressed()
        return True

    def _on_training_end(self) -> None:
        self._bar.close()

    def save(self) -> None:
        """Write all files; to be called between two episodes."""
        assert isinstance(self.model, FamilyADRL)
        if len(self.rows) == self._saved:
            return
        start = time.monotonic()
        self._folder.save(self.model, self.rows)
        self._saved = len(self.rows)
        took = time.monotonic() - start
        self._due = time.monotonic() + max(_SAVE_SECONDS, took / _SAVE_SHARE)


def pretrain_policy(
    options: PretrainOptions,
    policy_kwargs: dict[str, Any] | None = None,
    problems: Sequence[QuantProblem] | None = None,
) -> Path:
    """Train a policy, write its folder as the training goes, and return the file of the policy.

    A training that is resumed goes on with the agent as it was saved; it draws other members than it would have drawn.

    Args:
        options: of the training.
        policy_kwargs: for the policy's networks, as in SB3.
        problems: those of the options, made before; without them, they are made.

    Raises:
        AdrlGymError: bad input.
    """
    options.check()
    folder = PretrainFolder(options.output)
    folder.check(options)
    problems = problems or problems_of(options)
    print(f"{len(problems)} problems; {problems[0].splits.source}")
    env = gym.make(FAMILY_ID, problems=problems, budgets=options.budgets, decision=options.decision)
    agent = FamilyADRL(
        env=env,
        k=options.k,
        warmup_episodes=options.warmup_episodes,
        sigma=options.sigma,
        sigma_decay=options.sigma_decay,
        actor_learning_rate=options.actor_learning_rate,
        seed=options.seed,
        policy_kwargs=policy_kwargs,
    )
    rows: list[FamilyEpisode] = []
    if folder.agent.exists():
        loaded, progress = load_agent(folder.agent, agent)
        assert isinstance(loaded, FamilyADRL)
        agent, rows = loaded, folder.rows(progress.episodes)
        members = agent.get_env()
        assert members is not None
        members.seed(options.seed + len(rows))
        print(f"resuming {folder.path} after {len(rows)} of {options.episodes} episodes")
    if len(rows) < options.episodes:
        folder.begin(options)
        _learn(agent, folder, rows, options)
    print(f"mean reward of the last episodes: {rows[-1].mean_reward:+.4f} (the knapsack's is 0)")
    print(f"written to {folder.policy}")
    return folder.policy


def problems_of(options: PretrainOptions) -> list[QuantProblem]:
    """Return the problems that a training learns from; raises ``AdrlGymError`` where they cannot be made."""
    return family_problems(
        options.networks,
        options.quantizers,
        weights=options.weights,
        data=options.data,
        data_root=options.data_root,
        images=options.images,
        device=options.device,
    )


def _learn(agent: FamilyADRL, folder: PretrainFolder, rows: list[FamilyEpisode], options: PretrainOptions) -> None:
    trackers: list[PretrainTracker] = [PretrainWandbLogger(options)] if options.track else []
    trackers += [PretrainTensorboardLogger(options)] if options.tensorboard else []
    for tracker in trackers:
        print(tracker.where)
    callback = PretrainCallback(folder, rows, options.episodes, trackers)
    try:
        with interrupts.unmasked():
            agent.learn(_STEPS, callback, reset_num_timesteps=not rows)
    except BaseException as error:
        for tracker in trackers:
            tracker.close(exit_code=1)
        if isinstance(error, KeyboardInterrupt) and folder.policy.exists():
            print(f"the policy so far is {folder.policy}; go on with --resume", file=sys.stderr)
        raise
    for tracker in trackers:
        tracker.finish(folder.curve, len(rows))
