"""The callback by which SB3's ``learn`` records a search."""

from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.on_policy_algorithm import OnPolicyAlgorithm

from adrl_agents.runs import save_agent
from adrl_agents.search.logger import RunLogger
from adrl_gym.errors import AdrlGymError


class SearchCallback(BaseCallback):
    """Hands every finished episode to a ``RunLogger``, and ends ``learn`` when the search has ended.

    The agent is saved before a rollout, after the training on the one before: there a search can be resumed
    exactly. An off-policy agent's rollout is an episode; PPO's are several, and what of them was tried but not yet
    learned from is tried again on resume.

    Args:
        recorder: of the search.
    """

    def __init__(self, recorder: RunLogger) -> None:
        super().__init__()
        self.recorder = recorder
        self._cut = False  # whether learn was ended within a rollout

    def _on_training_start(self) -> None:
        self.recorder.open()

    def _on_rollout_start(self) -> None:
        # PPO's rollouts are long, and without a replay buffer it is saved in no time.
        last = self.recorder.record.ended or isinstance(self.model, OnPolicyAlgorithm)
        self.recorder.pause(self._save_agent, at_once=last)

    def _on_step(self) -> bool:
        # On the first step of the next episode: by then the agent has learned from the last one, and is saved.
        if self.recorder.record.ended:
            self._cut = True
            return False
        for info, reward, done in zip(*(self.locals[key] for key in ("infos", "rewards", "dones")), strict=True):
            if done and "bits" not in info:
                raise AdrlGymError(
                    f"an episode ended before its last step: it needs {len(self.recorder.record.problem.searchable)}, "
                    "one for each layer that is searched; leave out wrappers that end episodes, such as TimeLimit"
                )
            if done:
                self.recorder.add(info, float(reward))
        return True

    def _on_training_end(self) -> None:
        if not self._cut:
            self.recorder.pause(self._save_agent, at_once=True)
        self.recorder.close()

    def _save_agent(self) -> None:
        save_agent(self.recorder.folder.agent, self.model, self.recorder.record.progress)
