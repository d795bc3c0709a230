"""The benchmarks: which searches there are, what is gathered of them, and the figures."""

import csv
import importlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from adrl_gym import AdrlGymError

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("benchmark_scripts")


def script(name: str) -> Any:
    return importlib.import_module(name)


def made() -> Any:
    """How runs are made up, and rows read."""
    return script("made_runs")


def test_the_paper_suite_is_the_protocol() -> None:
    suites = script("benchmarks.harness.suites")
    paper = suites.paper()
    assert len({(run.name, run.protocol) for run in paper}) == len(paper)
    long = Counter(
        (r.network, *r.setting[1:3], r.agent) for r in paper if r.protocol == "search" and not r.varied_options
    )
    b, c = ("resnet20", "linear", 0.0625), ("resnet20", "gptq", 0.05)
    first = [run for run in paper if run.setting == (*b, "") and (run.seed == 0 or run.agent == "adrl")]
    assert paper[: len(first)] == first
    assert [run.agent for run in first[:5]] == ["adrl"] * 5
    assert [long[(*b, agent)] for agent in ("adrl", "haq", "ddpg", "td3", "sac", "ppo", "dqn", "random", "tpe")] == [
        *(5, 5, 3, 2, 2, 2, 2, 3, 3)
    ]
    assert [long[(*c, agent)] for agent in ("adrl", "haq", "ddpg", "td3", "random")] == [5, 3, 1, 0, 1]
    assert long["cifarnet", "linear", 0.1, "haq"] == 3
    assert {r.budget for r in paper if r.quantizer == "gptq" and r.agent == "ip-kl"} == {0.04, 0.05, 0.0625, 0.08, 0.1}
    assert {r.varied_options for r in paper} == {"", "bias-correction=False", "finetune-images=2560"}
    in_b = {r.agent for r in paper if r.setting == (*b, "") and r.protocol == "matched"}
    assert in_b == set(suites.CONTENDERS) - {"adrl"}
    short, wide = ("linear", 0.1, "bias-correction=False"), ("kmeans", 0.1, "")
    for setting in (short, wide):
        seeds = Counter((r.agent, r.protocol) for r in paper if r.setting == ("resnet20", *setting))
        assert seeds == {("adrl", "search"): 5, ("haq", "search"): 1, ("haq", "matched"): 1}


@pytest.mark.parametrize("name", ["comparison", "paper", "ablations", "quick"])
def test_every_command_line_is_accepted(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tyro, options = importlib.import_module("tyro"), importlib.import_module("adrl_agents.options")
    kinds = {
        "train_adrl": options.ADRLOptions,
        "train_haq": options.Options,
        "train_sb3": options.SB3Options,
        "search": options.SearchOptions,
    }
    suites = script("benchmarks.harness.suites")
    for run in suites.SUITES[name]():
        path, *arguments = run.command(Path("D"), Path("O"))
        parsed = tyro.cli(kinds[Path(path).stem], args=arguments)
        parsed.check()
        assert (parsed.quantizer, parsed.budget, parsed.seed) == (run.quantizer, run.budget, run.seed)
        assert Path(path).exists()


def test_what_is_gathered_is_what_the_histories_say(tmp_path: Path) -> None:
    made().finish_setting(tmp_path / "runs")
    made().gather(tmp_path / "runs", tmp_path / "results")
    runs = made().rows(tmp_path / "results" / "runs.csv")
    wanted = "network, agent, quantizer, budget, seed, protocol, episodes, evaluations, seconds, search_accuracy"
    wanted += (
        ", test_accuracy, test_agreement, test_kl, test_loss, float_test_accuracy, average_bits, size_ratio, commit"
    )
    assert set(wanted.split(", ")) <= set(runs[0])
    assert Counter(row["protocol"] for row in runs) == {
        "search": 5 + 3 + 5 + 3 + 4 * 2 + 3 + 3,
        "matched": 5 + 3 + 3 + 4 * 2 + 12 * 3,
    }

    learning = made().rows(tmp_path / "results" / "learning.csv")
    haq = [float(r["search_accuracy"]) for r in runs if r["agent"] == "haq" and r["protocol"] == "search"]
    for row in learning:
        assert float(row["target_accuracy"]) == sorted(haq)[2]
    reached = {row["agent"] for row in learning if row["episodes"]}
    assert {"adrl", "haq", "d-adrl"} <= reached
    assert "random" not in reached
    (first,) = (row for row in learning if row["agent"] == "adrl" and row["seed"] == "0")
    history = made().rows(tmp_path / "runs" / "resnet20-linear-0.0625-adrl-s0" / "episodes.csv")
    there = next(row for row in history if float(row["best_accuracy"]) >= float(first["target_accuracy"]))
    assert [float(first[k]) for k in ("episodes", "evaluations", "seconds")] == [
        float(there[k]) for k in ("episode", "evaluations", "seconds")
    ]

    variance = made().rows(tmp_path / "results" / "variance.csv")
    (first,) = (row for row in variance if row["agent"] == "adrl" and row["seed"] == "0")
    rewards = np.array([float(row["reward"]) for row in history[:20]])
    assert float(first["reward_mean"]) == pytest.approx(rewards.mean(), abs=1e-6)
    assert float(first["reward_std"]) == pytest.approx(rewards.std(ddof=1), abs=1e-6)
    assert not {row["agent"] for row in variance} & {"uniform", "ip-kl"}


def test_tables_say_what_the_rows_say(tmp_path: Path) -> None:
    made().finish_setting(tmp_path / "runs")
    made().gather(tmp_path / "runs", tmp_path / "results")
    tables, runs = script("benchmarks.reporting.tables"), made().rows(tmp_path / "results" / "runs.csv")
    results = tables.Results.load(tmp_path / "results")

    def cells(name: str, *begin: str) -> list[str]:
        lines = [line.strip("| ").split(" | ") for line in tables.EVALUATION[name](results).splitlines()]
        (line,) = (line[len(begin) :] for line in lines if tuple(line[: len(begin)]) == begin)
        return line

    def of(agent: str, column: str, protocol: str = "search") -> list[float]:
        return sorted(float(r[column]) for r in runs if (r["agent"], r["protocol"]) == (agent, protocol))

    b = "ResNet20, B: `linear`, 0.0625"
    haq = of("haq", "test_accuracy", "matched")
    assert cells("accuracy-matched", "HAQ")[:2] == ["not run", f"{haq[2]:.2f} ({haq[0]:.2f} to {haq[4]:.2f}), n=5"]
    agreement = of("haq", "test_agreement", "matched")[2]
    assert cells("beside-matched", "HAQ")[:2] == ["", f"{agreement:.2f} %, 0.0651, 0.3120"]
    assert cells("accuracy-matched", "TD3")[0] == "–"  # noqa: RUF001 - not part of the protocol
    adrl, ip = of("adrl", "search_accuracy")[2], of("ip-kl", "search_accuracy", "matched")[1]
    assert float(cells("margins", b, "search")[3]) == pytest.approx(adrl - ip, abs=0.006)
    learning = [r for r in made().rows(tmp_path / "results" / "learning.csv") if r["agent"] == "adrl"]
    needed = sorted(float(r["evaluations"]) for r in learning)[2]
    shown = cells("learning-speed", b, learning[0]["target_accuracy"], "5 of 5", "evaluations")
    assert shown[0] == f"{needed:,.0f}"
    assert float(shown[-1]) == pytest.approx(600 / needed, abs=0.06)  # HAQ's are 600 here
    assert cells("learning-agents", "random")[1] == "0 of 3"
    deviation = float(cells("first-rewards", b, "P-ADRL")[2])
    assert 0 < deviation < float(cells("first-rewards", b, "HAQ")[2])
    assert float(cells("first-rewards", b, "P-ADRL")[-1]) > 0
    assert cells("ablations", "`k=4`") == ["not run", "", *["not run"] * 3]


def test_rows_of_an_earlier_version_are_shown_without_what_they_lack(tmp_path: Path) -> None:
    made().finish_setting(tmp_path / "runs")
    made().gather(tmp_path / "runs", tmp_path / "results")
    store, tables = script("benchmarks.harness.csv_file"), script("benchmarks.reporting.tables")
    new = store.read_rows(tmp_path / "results" / "runs.csv")
    lacking = {"test_agreement", "test_kl", "test_loss"}
    old = [{name: value for name, value in row.items() if name not in lacking} for row in new]
    store.write_rows(tmp_path / "old" / "runs.csv", old)
    results = tables.Results.load(tmp_path / "old")
    assert tables.EVALUATION["accuracy-matched"](results) == tables.EVALUATION["accuracy-matched"](
        tables.Results.load(tmp_path / "results")
    )
    assert len(tables.EVALUATION["beside-matched"](results).splitlines()) == 2, "no agent"
    made().gather(tmp_path / "runs", tmp_path / "old")
    assert all(row["test_kl"] == "0.0651" for row in store.read_rows(tmp_path / "old" / "runs.csv"))


def test_agents_of_one_colour_are_told_apart_by_their_markers() -> None:
    styles = script("benchmarks.reporting.styles").STYLES
    looks = Counter((style.colour, style.marker.lower()) for style in styles.values())
    assert max(looks.values()) == 1, looks.most_common(1)
    assert styles["ip-kl+gradient"].name == "integer programming, KL, gradient"


def test_a_row_with_a_new_column_is_added_without_a_mixed_header(tmp_path: Path) -> None:
    csv_file, path = script("benchmarks.harness.csv_file"), tmp_path / "folder" / "results.csv"
    csv_file.add_row(path, {"network": "a", "test_accuracy": 90})
    csv_file.add_row(path, {"network": "b", "test_accuracy": 91, "test_kl": 0.1})
    assert path.read_text() == "network,test_accuracy,test_kl\na,90,\nb,91,0.1\n"


def test_figures_show_every_setting_and_are_the_same_every_time(tmp_path: Path) -> None:
    made().finish_setting(tmp_path / "runs")
    for budget in (0.04, 0.1):  # points of the Pareto curve; figures of a setting need HAQ
        made().finish_setting(tmp_path / "runs", "gptq", budget, without=("haq",))
    made().gather(tmp_path / "runs", tmp_path / "results")
    figures = script("benchmarks.reporting.figures")
    for name in ("figures", "again"):
        figures.main(figures.Options(results=tmp_path / "results", output=tmp_path / name))
    drawn = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {
        f"{kind}-resnet20-linear-0.0625.{form}" for kind in ("curves", "learning", "bits") for form in ("png", "svg")
    } <= drawn
    assert {"pareto-resnet20.png", "pareto-resnet20.svg"} <= drawn
    for path in (tmp_path / "figures").iterdir():
        assert path.read_bytes() == (tmp_path / "again" / path.name).read_bytes(), path.name
    svg = (tmp_path / "figures" / "curves-resnet20-linear-0.0625.svg").read_text()
    for words in ("P-ADRL", "HAQ", "float network", "search accuracy of the best so far (%)", "episodes"):
        assert words in svg
    with Image.open(tmp_path / "figures" / "pareto-resnet20.png") as picture:
        assert picture.width >= 900
    (tmp_path / "results" / "learning.csv").unlink()  # as before HAQ has run to its end
    assert [name for name in figures.all_figures(tmp_path / "results") if "-linear-" in name] == [
        f"{kind}-resnet20-linear-0.0625" for kind in ("curves", "bits")
    ]


def test_without_results_there_are_no_figures(tmp_path: Path) -> None:
    assert script("benchmarks.reporting.figures").all_figures(tmp_path) == {}


def test_refits_are_of_the_committed_searches_and_a_finished_table_is_left_alone(tmp_path: Path) -> None:
    refits = script("benchmarks.experiments.refits")
    rows = refits.searched(ROOT / "benchmarks" / "results")
    assert {("resnet20", "adrl", "0.0625"), ("resnet20", "uniform", "0.0625"), ("cifarnet", "adrl", "0.0625")} <= {
        (row["network"], row["agent"], row["budget"]) for row in rows
    }
    assert {(row["quantizer"], row["seed"], row["protocol"], row["varied"]) for row in rows} == {
        ("gptq", "0", "search", "")
    }
    csv_file = script("benchmarks.harness.csv_file")
    csv_file.write_rows(tmp_path / "comparison.csv", rows[:1])
    known = {name: value for name, value in rows[0].items() if name in refits.REFIT_KEY}
    draws = [{"calibration": c, "draw": d} for c in refits.IMAGE_SOURCES for d in range(refits.DRAWS)]
    csv_file.write_rows(tmp_path / "refit.csv", [{**known, **draw} for draw in draws])
    before = (tmp_path / "refit.csv").read_bytes()
    refits.main(refits.Options(data_root=tmp_path, results=tmp_path))
    assert (tmp_path / "refit.csv").read_bytes() == before

    (tmp_path / "refit.csv").unlink()
    (tmp_path / "comparison.csv").write_text(
        (tmp_path / "comparison.csv").read_text().replace(rows[0]["checkpoint"], "0")
    )
    with pytest.raises(AdrlGymError, match="was searched with the checkpoint 0: search anew"):
        refits.main(refits.Options(data_root=tmp_path, results=tmp_path))
    assert not (tmp_path / "refit.csv").exists()


def test_the_table_of_refits_has_a_cell_for_each_kind_of_images(tmp_path: Path) -> None:
    row = {
        "network": "resnet20",
        "budget": "0.05",
        "agent": "adrl",
        "direct_test_accuracy": "70",
        "float_test_accuracy": "91",
    }
    rows = [
        {**row, "calibration": calibration, "test_accuracy": accuracy, "cpu_seconds": "12"}
        for calibration, accuracy in (("cifar10", "88"), ("cifar10", "89"), ("data-free", "87"))
    ]
    with (tmp_path / "refit.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    table = script("benchmarks.report").refit_table(tmp_path)
    assert "| 70.00 | 88.50 (88.00 to 89.00) | 87.00 (87.00 to 87.00) | 91.00 | 12 |" in table


def test_rows_of_exported_files_replace_those_of_the_same_file() -> None:
    with_replaced = script("benchmarks.experiments.exported_files").with_replaced
    key = {"network": "resnet20", "quantizer": "gptq", "bits": "2 2"}
    there = [{**key, "format": form, "file_bytes": "9"} for form in ("packed", "onnx")]
    new = [{**key, "format": "packed", "file_bytes": 5}, {**key, "bits": "1 1", "format": "packed", "file_bytes": 4}]
    assert with_replaced(there, new) == [new[0], there[1], new[1]]
