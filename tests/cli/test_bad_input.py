"""Command lines that are refused in one line, and folders that stay as they are."""

import re
from pathlib import Path

import pytest

from adrl_agents.cli import run as run_command
from commands import arguments, run_script

pytestmark = pytest.mark.usefixtures("scripts", "no_pictures")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"k": 0}, r"k must be at least 1, got 0 \(--k\)"),
        ({"episodes": 0}, r"episodes must be at least 1, got 0 \(--episodes\)"),
        ({"images": 0}, "images must be at least 1, got 0"),
        ({"profile_images": -1}, r"profile_images must be at least 1, got -1 \(--profile-images\)"),
        ({"seed": -1}, "seed must be at least 0, got -1"),
        ({"window": 1}, "window must be at least 2, got 1"),
        ({"activations": 9}, r"activations must have 2 to 8 bits, got 9: .* \(--activations\)"),
        ({"tolerance": "nan"}, "tolerance must be finite and at least 0, got nan"),
        ({"tolerance": "inf"}, r"tolerance must be finite and at least 0, got inf: .* \(--tolerance\)"),
        (
            {"activation_gib": "inf"},
            r"activation_gib must be finite and at least 0, got inf: 0 keeps none \(--activation-gib\)",
        ),
        ({"device": "abacus"}, r"device abacus cannot be used here: choose auto or cpu \(--device\)"),
        (
            {"budget": 16},
            r"budget must be in \(0, 1\], got 16: give the share of the 32-bit size, e.g. 0.0625 \(--budget\)",
        ),
        ({"budget": "nan"}, r"budget must be in \(0, 1\], got nan"),
        ({"budget": 0.001}, "the smallest possible is 0.03125"),
        ({"budget": -1}, "the smallest possible is 0.03125"),
        (
            {"env_id": "ResNet20"},
            "unknown environment ResNet20 .*choose one of .*adrl_gym/ResNet20-Cifar10-v0",
        ),
        (
            {"env_id": "no_module:Tiny-v0"},
            "unknown environment no_module:Tiny-v0 .*no_module.*; choose one of",
        ),
        (
            {"env_id": ".foo:x"},
            r"env_id .foo:x begins with a dot: give the whole name of the module, .* \(--env-id\)",
        ),
        (
            {"env_id": "adrl_gym/MixedPrecisionQuant-v0"},
            r"env_id adrl_gym/MixedPrecisionQuant-v0 is for any network: name one \(--network\)",
        ),
        ({"env_id": "CartPole-v1"}, "CartPole-v1 is no quantization environment; choose one of"),
        ({"data_root": "/nowhere", "data": "cifar10", "env_id": "adrl_gym/CifarNet-Cifar10-v0"}, "/nowhere"),
    ],
)
def test_bad_options_get_one_line_and_status_2(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    message: str,
) -> None:
    assert run_command("adrl", arguments(tmp_path / "run", **changes)) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(rf"error: .*{message}.*\n", error)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            ["--keep", "conv1=8", "--seed", "1", "--keep", "fc3=8"],
            "--keep is given twice; give all its values behind one: --keep conv1=8 fc3=8",
        ),
        (["--keep=a_b=8", "c=4", "--keep=d=2"], "give all its values behind one: --keep a_b=8 c=4 d=2"),
        (["--budget", "0.2"], "--budget is given twice; give it once"),
        (["--wandb-group", "a", "--wandb_group=b"], "--wandb-group is given twice; give it once"),
    ],
)
def test_an_option_given_twice_is_refused(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    message: str,
) -> None:
    assert run_command("adrl", [*arguments(tmp_path / "run"), *more]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.endswith(f"{message}\n")
    assert not (tmp_path / "run").exists()


def test_a_finished_run_without_real_images_is_not_shown_to_who_asks_for_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    network = {"env_id": "adrl_gym/CifarNet-Cifar10-v0", "quantizer": "linear", "images": 20, "episodes": 1}
    given = arguments(tmp_path / "run", **network)
    assert run_command("adrl", given) == 0
    for more in (["--download"], ["--data-root", str(tmp_path)]):
        capsys.readouterr()
        assert run_command("adrl", [*given, "--resume", *more]) == 2
        message = rf"is finished, on the data-free set: .*\({' '.join(more)}\), choose another --output\n"
        assert re.search(message, capsys.readouterr().err)
    assert run_command("adrl", [*given, "--resume", "--resume"]) == 0  # as make train ARGS=--resume does


def test_an_unwritable_output_is_refused_before_the_search(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    done = run_script("train_haq", arguments(tmp_path / "file" / "run"))
    assert done.returncode == 2
    assert re.fullmatch(r"error: cannot write to the output folder .*file/run: Not a directory; .*\n", done.stderr)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({}, "holds a run of these options .*finished, 2 episodes.*--resume"),
        (
            {"budget": 0.09},
            r"belongs to another run, with --budget 0.1 \(here 0.09\); choose another --output",
        ),
        ({"budget": 0.09, "resume": True}, r"--budget 0.1 \(here 0.09\); resume it with its own options or"),
        ({"episodes": 1, "resume": True}, "resuming can only raise them, not lower them to 1"),
        ({"k": 3, "seed": 1}, r"--seed 0 \(here 1\), --k 2 \(here 3\)"),
    ],
)
def test_a_folder_of_another_run_stays_as_it_is(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, object],
    message: str,
) -> None:
    output = tmp_path / "run"
    assert run_command("adrl", arguments(output, episodes=2, k=2)) == 0
    before = {path.name: path.read_bytes() for path in output.iterdir()}
    capsys.readouterr()
    assert run_command("adrl", arguments(output, **{"episodes": 2, "k": 2, **changes})) == 2
    assert re.fullmatch(rf"error: .*{message}.*\n", capsys.readouterr().err)
    assert {path.name: path.read_bytes() for path in output.iterdir()} == before


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("result.json", "cannot read the search result .*not JSON"),
        ("agent.zip", "holds agent.zip but no result.json"),
    ],
)
def test_files_of_unknown_origin_are_not_overwritten(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    message: str,
) -> None:
    (tmp_path / name).write_text("something else")
    assert run_command("adrl", arguments(tmp_path)) == 2
    assert re.search(message, capsys.readouterr().err)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {name: "something else"}
