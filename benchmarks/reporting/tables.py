"""The tables of docs/evaluation.md, from the CSV files of the evaluation; what was not run says so."""

import itertools
import statistics
from collections.abc import Callable, Sequence

from adrl_gym.evaluation import SCORES
from benchmarks.harness.csv_file import Row
from benchmarks.harness.suites import (
    ABLATIONS,
    ADRL_VARIANTS,
    CONTENDERS,
    FINETUNED,
    LONG,
    PARETO,
    PARETO_AGENTS,
)
from benchmarks.reporting.settings import Results, in_setting, none, setting_title
from benchmarks.reporting.styles import STYLES, of
from benchmarks.reporting.table_format import (
    BESIDE,
    NOT_RUN,
    difference,
    lead,
    markdown,
    median,
    metrics_cell,
    number,
    ratio,
    reached,
    spread,
    values,
    without_empty,
)

SPREAD_AGENTS = ("adrl", "d-adrl", "haq", "ddpg")
HAQ_TO_ITS_END = ("haq", "search")
EXACT = 1e-9  # percent
# Agent and protocol of what P-ADRL is compared with image by image.
COMPARED = (*((agent, "matched") for agent in CONTENDERS if agent != "adrl"), HAQ_TO_ITS_END)


def accuracy_matched(results: Results) -> str:
    """Test accuracy of every agent given as many evaluations as ADRL takes."""
    lines = []
    for agent in CONTENDERS:
        protocol = "search" if agent == "adrl" else "matched"
        found = {s: in_setting(results.runs, s, agent=agent, protocol=protocol) for s in results.settings()}
        lines.append([STYLES[agent].name, *(spread(rows) if rows else none(agent, s) for s, rows in found.items())])
    adrl = [in_setting(results.runs, s, agent="adrl", protocol="search") for s in results.settings()]
    lines.append(["evaluations of P-ADRL, median", *(number(median(rows, "evaluations"), 0) for rows in adrl)])
    return markdown(["agent", *map(setting_title, results.settings())], lines)


def beside_matched(results: Results) -> str:
    """Agreement, divergence and loss of the same networks, of those whose runs have measured them."""
    lines = []
    for agent in CONTENDERS:
        protocol = "search" if agent == "adrl" else "matched"
        found = [in_setting(results.runs, s, agent=agent, protocol=protocol) for s in results.settings()]
        cells = [metrics_cell(rows) for rows in found]
        if any(cells):
            lines.append([STYLES[agent].name, *cells])
    return markdown(["agent", *map(setting_title, results.settings())], lines)


def accuracy_own(results: Results) -> str:
    """Test accuracy of the agents at their own length, with the evaluations that it took."""
    lines = []
    for agent in (*ADRL_VARIANTS, *LONG):
        line = [STYLES[agent].name]
        for setting in results.settings():
            rows = in_setting(results.runs, setting, agent=agent, protocol="search")
            line.append(f"{spread(rows)}; {number(median(rows, 'evaluations'), 0)}" if rows else none(agent, setting))
        lines.append(line)
    return markdown(["agent", *map(setting_title, results.settings())], lines)


def leads(results: Results) -> str:
    """Test accuracy of P-ADRL less that of every other agent, with the 95 % interval over the images."""
    lines = []
    for agent, protocol in COMPARED:
        line = [STYLES[agent].name + (", 600 episodes" if (agent, protocol) == HAQ_TO_ITS_END else "")]
        for setting in results.settings():
            rows = in_setting(results.paired, setting, agent=agent, protocol=protocol)
            line.append(lead(rows[0]) if rows else none(agent, setting))
        lines.append(line)
    table = markdown(["P-ADRL over", *map(setting_title, results.settings())], lines)
    return f"{table}\n\n{measured_again(results)}"


def measured_again(results: Results) -> str:
    """Return how far the accuracies of the comparison image by image are from those that the searches reported."""
    problem = ("network", "quantizer", "budget", "varied")
    reported = {(*(run[name] for name in problem), run["bits"]): float(run["test_accuracy"]) for run in results.runs}
    off = {}
    for row in results.paired:
        for bits, accuracy in (("adrl_bits", "adrl_accuracy"), ("bits", "accuracy")):
            configuration = (*(row[name] for name in problem), row[bits])
            off[configuration] = abs(float(row[accuracy]) - reported[configuration])
    other = sum(gap > EXACT for gap in off.values())
    return (
        f"Of these {len(off)} configurations, {len(off) - other} have the accuracy that their search reported, to the "
        f"image; of the others it is at most {max(off.values(), default=0):.2f} % away."
    )


def margins(results: Results) -> str:
    """P-ADRL's median less that of integer programming on each table, on search and on test images."""
    lines = []
    for setting in results.settings():
        adrl = in_setting(results.runs, setting, agent="adrl", protocol="search")
        for column in ("search_accuracy", "test_accuracy"):
            line = [setting_title(setting), column.partition("_")[0], number(median(adrl, column))]
            for score in SCORES:
                rows = in_setting(results.runs, setting, agent=f"ip-{score}", protocol="matched")
                line.append(number(difference(median(adrl, column), median(rows, column)), sign=True))
            lines.append(line)
    return markdown(["setting", "images", "P-ADRL", *(f"over IP, {score}" for score in SCORES)], lines)


def learning_speed(results: Results) -> str:
    """Return what P-ADRL and HAQ take until the search accuracy is what HAQ ends with."""
    lines = []
    finetuned = " ".join(f"{key}={value}" for key, value in FINETUNED.items())
    first = results.settings()[0]  # A on ResNet20
    for setting, varied in [*((s, "") for s in results.settings()), (first, finetuned)]:
        adrl, haq = (in_setting(results.learning, setting, varied, agent=agent) for agent in ("adrl", "haq"))
        whole = in_setting(results.runs, setting, varied, agent="haq", protocol="search")
        # Seconds of seeds that were measured before processor time was are left out, if there are any others.
        timed = {row["seed"] for row in whole if row["cpu_seconds"]}
        seconds = ("processor seconds", "cpu_seconds") if timed else ("seconds on a shared machine", "seconds")
        for measure, column in (("episodes", "episodes"), ("evaluations", "evaluations"), seconds):
            its = [row for row in haq if row["seed"] in timed] if column == "cpu_seconds" else haq
            mine, until, all_of_it = reached(adrl, column), reached(its, column), median(whole, column)
            lines.append(
                [
                    setting_title(setting) + (", finetuned" if varied else ""),
                    number(median(adrl, "target_accuracy")),
                    f"{len(values(adrl, 'episodes'))} of {len(adrl)}" if adrl else NOT_RUN,
                    measure,
                    "never" if mine is None and adrl else number(mine, 0),
                    "never" if until is None and its else number(until, 0),
                    number(all_of_it, 0),
                    *(
                        "none" if adrl and there and None in (mine, theirs) else number(ratio(theirs, mine), 1)
                        for theirs, there in ((until, its), (all_of_it, whole))
                    ),
                ]
            )
    header = [
        "setting",
        "HAQ's best",
        "P-ADRL's seeds there",
        "measure",
        "P-ADRL",
        "HAQ, until there",
        "HAQ, to its end",
    ]
    return markdown([*header, "times less than until there", "times less than to its end"], lines)


def learning_agents(results: Results) -> str:
    """Evaluations of every agent until the search accuracy is what HAQ ends with, and how many seeds get there."""
    lines = []
    for agent in (*ADRL_VARIANTS, *LONG):
        line = [STYLES[agent].name]
        for setting in results.settings():
            rows = in_setting(results.learning, setting, agent=agent)
            there = f"{len(values(rows, 'evaluations'))} of {len(rows)}"
            until = reached(rows, "evaluations")
            line.append(there if until is None else f"{number(until, 0)}; {there}")
            line[-1] = line[-1] if rows else none(agent, setting)
        lines.append(line)
    return markdown(["agent", *map(setting_title, results.settings())], lines)


def first_rewards(results: Results) -> str:
    """Mean and spread of the reward over the first episodes."""
    lines = []
    for setting, agent in itertools.product(results.settings(), SPREAD_AGENTS):
        rows, haq = (in_setting(results.variance, setting, agent=name) for name in (agent, "haq"))
        lines.append([setting_title(setting), STYLES[agent].name, *moments(rows, haq)])
    header = ["setting", "agent", "seeds", "mean reward", "deviation over episodes", "deviation of the mean over seeds"]
    return markdown([*header, "deviation over HAQ's", "mean above HAQ's"], lines)


def propositions(results: Results) -> str:
    """The first rewards of ADRL with k candidates, in setting B; k = 1 is HAQ."""
    lines = []
    network = results.settings()[0][0]
    one = in_setting(results.variance, (network, "B"), agent="adrl+k=1")
    for k, agent in ((1, "adrl+k=1"), (2, "adrl+k=2"), (4, "adrl+k=4"), (8, "adrl")):
        rows = in_setting(results.variance, (network, "B"), agent=agent)
        lines.append([str(k), *moments(rows, one)])
    header = ["k", "seeds", "mean reward", "deviation over episodes", "deviation of the mean over seeds"]
    return markdown([*header, "deviation over that of k = 1", "mean above that of k = 1"], lines)


def ablation(results: Results) -> str:
    """ADRL with one choice changed, in setting B."""
    lines = []
    setting = (results.settings()[0][0], "B")
    for agent in ("adrl", "d-adrl", *ABLATIONS):
        rows = in_setting(results.runs, setting, agent=agent, protocol="search")
        name = STYLES[agent].name if agent in STYLES else f"`{agent.removeprefix('adrl+').replace('+', ' ')}`"
        lines.append(
            [
                name,
                spread(rows),
                metrics_cell(rows),
                number(median(rows, "search_accuracy"), 1),
                number(median(rows, "evaluations"), 0),
                number(median(rows, "cpu_seconds"), 0),
            ]
        )
    header = ["ADRL with", "test accuracy", BESIDE, "search accuracy", "evaluations", "processor seconds"]
    return markdown(*without_empty(header, lines))


def pareto(results: Results) -> str:
    """Test accuracy against size, `gptq`."""
    lines = []
    network = results.settings()[0][0]
    for budget in PARETO:
        line = [f"{budget:g} ({32 * budget:.3g} bits)"]
        for agent in PARETO_AGENTS:
            rows = of(results.runs, network=network, quantizer="gptq", budget=f"{budget:g}", varied="", agent=agent)
            line.append(spread(of(rows, protocol="search") or rows))
        lines.append(line)
    return markdown(["size", *(STYLES[agent].name for agent in PARETO_AGENTS)], lines)


def other_quantizers(results: Results) -> str:
    """ADRL and HAQ with other roundings, ResNet20 at 0.1."""
    lines = []
    for name, quantizer, varied in (
        ("`kmeans`", "kmeans", ""),
        ("`linear` without bias correction", "linear", "bias-correction=False"),
    ):
        rows = of(results.runs, network="resnet20", quantizer=quantizer, budget="0.1", varied=varied)
        columns = (("adrl", "search"), ("haq", "matched"), ("haq", "search"))
        lines.append([name, *(spread(of(rows, agent=agent, protocol=protocol)) for agent, protocol in columns)])
    return markdown(["quantizer", "P-ADRL", "HAQ, as many evaluations", "HAQ, 600 episodes"], lines)


def moments(rows: Sequence[Row], reference: Sequence[Row]) -> list[str]:
    """Return statistics of the first rewards: seeds, mean, deviations, and how they compare with ``reference``."""
    means = values(rows, "reward_mean")
    mean, base = median(rows, "reward_mean"), median(reference, "reward_mean")
    return [
        str(len(rows)) if rows else NOT_RUN,
        number(mean, 3),
        number(median(rows, "reward_std"), 3),
        number(statistics.stdev(means), 3) if len(means) > 1 else "one seed" if means else NOT_RUN,
        number(ratio(median(rows, "reward_std"), median(reference, "reward_std"))),
        NOT_RUN if mean is None or base is None else number(mean - base, 3, sign=True),
    ]


EVALUATION: dict[str, Callable[[Results], str]] = {
    "accuracy-matched": accuracy_matched,
    "beside-matched": beside_matched,
    "accuracy-own": accuracy_own,
    "leads": leads,
    "margins": margins,
    "learning-speed": learning_speed,
    "learning-agents": learning_agents,
    "first-rewards": first_rewards,
    "propositions": propositions,
    "ablations": ablation,
    "pareto": pareto,
    "other-quantizers": other_quantizers,
}
