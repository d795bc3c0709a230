"""State of a search: what it has found so far."""

import dataclasses
import math
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from adrl_agents.options import Options
from adrl_agents.runs import Best, Episode, Progress, SearchResult, Status, git_commit, package_versions
from adrl_gym.evaluation import Metrics
from adrl_gym.problem import QuantProblem


class SearchState:
    """Counts, history and best configuration of one search, across interruptions.

    Args:
        problem: the quantization problem that is searched.
        agent: name of the agent.
        options: of the run.
        preparation_seconds: that it took to make ``problem``.
        previous: the result so far of the run that is resumed.
        progress: where the resumed search stands.
        history: all that it has tried; what is beyond ``progress`` is tried again.
    """

    def __init__(
        self,
        problem: QuantProblem,
        agent: str,
        options: Options,
        preparation_seconds: float = 0.0,
        previous: SearchResult | None = None,
        progress: Progress | None = None,
        history: Sequence[Episode] = (),
    ) -> None:
        self.problem, self.agent, self.options = problem, agent, options
        self.preparation_seconds = preparation_seconds
        self._before = progress or Progress()
        self._earlier, self._remembers = history, options.cache_file() is not None
        self.episodes = list(history[: self._before.episodes])
        self._resumed_at = len(self.episodes)
        self.best: Best | None = None
        self.wandb_run: str | None = None
        if previous is not None:
            kl = math.inf if previous.search_kl is None else previous.search_kl
            self.best = Best(
                previous.configuration(list(previous.bits)),
                previous.search_accuracy,
                previous.search_agreement,
                kl,
                previous.size_ratio,
            )
            self.wandb_run = previous.wandb_run
            if self._remembers:  # what is tried again was counted the first time
                self._before = dataclasses.replace(
                    self._before, evaluations=previous.evaluations, memo_misses=previous.memo_misses
                )
        # Of a search that another version began, without measuring it, it stays unknown.
        measured = not self.episodes or math.isfinite(self.episodes[-1].cpu_seconds)
        self._cpu_before = self._before.cpu_seconds if measured else math.nan
        self._hits, self._misses, self._evaluations = (
            problem.memo_hits,
            problem.memo_misses,
            problem.evaluations,
        )
        if options.evaluations is not None:  # of this search, across interruptions
            left = options.evaluations - self._before.evaluations
            problem.most_evaluations = problem.evaluations + left
        self._start, self._cpu_start = time.monotonic(), time.process_time()
        self.commit = git_commit()
        self._versions = package_versions()

    @property
    def history(self) -> list[Episode]:
        """All that was tried, also what is still to be tried again."""
        return [*self.episodes, *self._earlier[len(self.episodes) :]]

    @property
    def repeated(self) -> bool:
        """``True`` if the last episode was tried before the search was resumed."""
        return len(self.episodes) <= len(self._earlier)

    @property
    def progress(self) -> Progress:
        """Return the place where the search stands."""
        return Progress(
            episodes=len(self.episodes),
            evaluations=self._before.evaluations + self.problem.evaluations - self._evaluations,
            memo_hits=self._before.memo_hits + self.problem.memo_hits - self._hits,
            memo_misses=self._before.memo_misses + self.problem.memo_misses - self._misses,
            seconds=self._before.seconds + time.monotonic() - self._start,
            cpu_seconds=self._cpu_before + time.process_time() - self._cpu_start,
        )

    @property
    def ended(self) -> bool:
        """Return whether the search is over: a limit of its options is reached, or accuracy has settled.

        A configuration may take one more evaluation, so the limit of evaluations is one less than it says.
        Settled means that the deviation of the accuracy over the last episodes is small (early termination; ADRL,
        section 3); a search that is resumed tries at least one more.
        """
        options, episodes = self.options, self.episodes
        if len(episodes) >= options.episodes:
            return True
        if options.evaluations is not None and episodes and episodes[-1].evaluations + 1 > options.evaluations:
            return True
        if options.minutes is not None and episodes and episodes[-1].seconds >= 60 * options.minutes:
            return True
        last = [episode.accuracy for episode in episodes[-options.window :]]
        may_settle = options.tolerance > 0 and len(episodes) > self._resumed_at and len(last) == options.window
        return may_settle and statistics.pstdev(last) < options.tolerance

    def add(self, info: dict[str, Any], reward: float) -> Episode:
        """Take in the last step of an episode: ``info`` as the environment gives it."""
        measured = Best.measured(info)
        if measured.beats(self.best):
            self.best = measured
        assert self.best is not None
        progress = self.progress
        bits = " ".join(str(b) for b in measured.bits)
        earlier = self._tried_before(bits)
        answered = earlier if self._remembers else None  # by the cache on disk, without work
        episode = Episode(
            episode=len(self.episodes) + 1,
            reward=round(reward, 6),
            accuracy=_percent(measured.accuracy),
            best_accuracy=_percent(self.best.accuracy) if earlier is None else earlier.best_accuracy,
            evaluations=round(progress.evaluations, 4) if answered is None else answered.evaluations,
            seconds=round(progress.seconds, 3),
            agreement=_percent(measured.agreement),
            kl=round(measured.kl, 8),
            average_bits=round(info["average_bits"], 6),
            cost_ratios=" ".join(f"{kind}={ratio:.6g}" for kind, ratio in info["cost_ratios"].items()),
            bits=bits,
            cpu_seconds=round(progress.cpu_seconds, 3),
        )
        self.episodes.append(episode)
        return episode

    def _tried_before(self, bits: str) -> Episode | None:
        """The next episode as it was before the search was resumed, if it tries the same bits again."""
        number = len(self.episodes)
        again = number < len(self._earlier) and self._earlier[number].bits == bits
        return self._earlier[number] if again else None

    def result(self, status: Status, tested: tuple[Metrics, Metrics] | None = None) -> SearchResult:
        """The best so far, with everything known of the search. There must have been an episode.

        Args:
            status: of the search.
            tested: the float network and the best on the test images.
        """
        assert self.best is not None
        problem, best, progress = self.problem, self.best, self.progress
        measured = bool(self.episodes) and math.isfinite(self.episodes[-1].cpu_seconds)
        names = [layer.name for layer in problem.layers]
        return SearchResult(
            env_id=self.options.environment,
            agent=self.agent,
            seed=self.options.seed,
            options=self.options.recorded(),
            status=status,
            bits=dict(zip(names, best.bits[: len(names)], strict=True)),
            activation_bits=(
                dict(zip(names, best.bits[len(names) :], strict=True)) if problem.searches_inputs else None
            ),
            shapes=dict(zip(names, (list(layer.weight_shape) for layer in problem.layers), strict=True)),
            size_ratio=problem.size_ratio(best.bits),
            average_bits=problem.average_bits(best.bits),
            cost_ratios=problem.cost_ratios(best.bits) if isinstance(problem.budget, Mapping) else None,
            float_search_accuracy=_percent(problem.float_search.accuracy),
            search_accuracy=_percent(best.accuracy),
            search_agreement=_percent(best.agreement),
            search_kl=best.kl if math.isfinite(best.kl) else None,
            **({} if tested is None else _on_test_images(*tested)),
            data=problem.splits.name,
            data_source=problem.splits.source,
            episodes=progress.episodes,
            evaluations=round(progress.evaluations, 4),
            memo_hits=progress.memo_hits,
            memo_misses=progress.memo_misses,
            preparation_seconds=round(self.preparation_seconds, 3),
            # Until the last episode: neither tests nor pictures are part of the search.
            seconds=self.episodes[-1].seconds if self.episodes else round(self._before.seconds, 3),
            cpu_seconds=self.episodes[-1].cpu_seconds if measured else None,
            checkpoint=problem.checkpoint,
            images_hash=problem.images_hash,
            wandb_run=self.wandb_run,
            versions=self._versions,
            git_commit=self.commit,
        )


def _on_test_images(reference: Metrics, best: Metrics) -> dict[str, float | None]:
    return {
        "float_test_accuracy": _percent(reference.accuracy),
        "test_accuracy": _percent(best.accuracy),
        "test_agreement": _percent(best.agreement),
        "test_kl": best.kl if math.isfinite(best.kl) else None,
        "test_loss": best.loss if best.loss is not None and math.isfinite(best.loss) else None,
    }


def _percent(value: float) -> float:
    """Rounded, so that no accuracy is -1e-14 or 87.30000000000001."""
    return abs(round(value, 6))
