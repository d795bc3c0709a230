"""The console command: its names, help, spellings, and where it runs."""

import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from adrl_agents.cli import main
from adrl_agents.cli.main import COMMANDS
from adrl_agents.cli.renamed import modern
from adrl_gym import AdrlGymError
from commands import ROOT

pytestmark = pytest.mark.usefixtures("scripts")
TINY = ("--env-id", "tiny_env:Tiny-v0", "--budget", "0.1", "--images", "40", "--cache", "none")


def here(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with this code in the root of the checkout."""
    path = os.pathsep.join([str(ROOT), str(ROOT / "agents"), os.environ["PYTHONPATH"]])
    given = {**os.environ, "PYTHONPATH": path, **environment}
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=300, check=False)


def test_help_fits_one_screen_and_imports_no_pytorch() -> None:
    code = """
import sys
from adrl_agents.cli import main
try: main(["--help"])
finally: print("torch" in sys.modules, file=sys.stderr)
"""
    done = here(code)
    assert (done.returncode, done.stderr) == (0, "False\n")
    assert 20 <= len(done.stdout.splitlines()) <= 40
    for name, about in COMMANDS.items():
        assert re.search(rf"{name} +{re.escape(about)}", done.stdout)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_says_what_the_list_says(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(f"adrl_agents.cli.{name.replace('-', '_')}")
    assert (module.__doc__ or "").splitlines()[0] == COMMANDS[name]
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"usage: adrl-gym {name} ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("refitt", "unknown command refitt: did you mean refit? choose one of adrl, haq, "),
        ("finetuning", "did you mean finetune?"),
        ("nonsense", "unknown command nonsense: choose one of adrl, haq, "),
    ],
)
def test_an_unknown_command_suggests_the_nearest(name: str, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "runs/x"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_an_unknown_flag_suggests_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["adrl", "--budgte", "0.1"])
    assert ended.value.code == 2
    assert re.search(r"Perhaps you meant:.*--budget", capsys.readouterr().err, re.DOTALL)


def test_no_command_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out.startswith("usage: adrl-gym ")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete_commands_and_flags(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--tyro-print-completion", shell])
    assert ended.value.code in (0, None)
    script = capsys.readouterr().out
    assert {"refit", "profile-images", "positions"} <= {*re.findall(r"[\w-]+", script.replace("--", " "))}


def test_a_missing_extra_is_named() -> None:
    done = here("import sys; sys.modules['tyro'] = None\nfrom adrl_agents.cli import main; sys.exit(main(['haq']))")
    assert done.returncode == 2
    assert done.stderr.endswith('(there is no tyro): pip install "adrl-gym[agents]"\n')
    assert done.stderr.count("\n") == 1


def test_the_package_itself_runs_the_commands() -> None:
    done = here("import runpy, sys; sys.argv[1:] = ['--version']; runpy.run_module('adrl_gym', run_name='__main__')")
    assert (done.returncode, done.stderr) == (0, "")
    assert re.fullmatch(r"adrl-gym \d+\.\d+\.\d+\n", done.stdout)


def test_pictures_need_no_backend_and_any_name_can_be_printed(tmp_path: Path) -> None:
    output = tmp_path / "[bold]größe[/]"
    given = ["haq", *TINY, "--episodes", "2", "--output", str(output)]
    code = f"from adrl_agents.cli import main; raise SystemExit(main({given}))"
    done = here(code, MPLBACKEND="module://nowhere.backend", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (0, "")
    escaped = str(output).encode("ascii", "backslashreplace").decode()
    assert done.stdout.endswith(f"written to {escaped}\n")
    assert (output / "curve.png").exists()


def test_a_reader_that_has_left_does_not_end_the_search(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    command = [
        sys.executable,
        "-u",
        "agents/search.py",
        "--method",
        "uniform",
        *TINY,
        "--output",
        str(tmp_path / "run"),
    ]
    with os.fdopen(write, "w") as closed:
        done = subprocess.run(command, cwd=ROOT, stdout=closed, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads((tmp_path / "run" / "result.json").read_text())["status"] == "finished"


def test_an_error_of_the_library_gets_the_flag(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AdrlGymError) as raised:
        importlib.import_module("adrl_gym.devices").check_device("abacus")
    assert "--" not in str(raised.value)
    assert main(["haq", "--device", "abacus"]) == 2
    assert capsys.readouterr().err == "error: device abacus cannot be used here: choose auto or cpu (--device)\n"


@pytest.mark.parametrize("command", ["adrl", "haq", "sb3", "search"])
def test_bits_are_searched_in_their_range_and_gone_on_with(tmp_path: Path, command: str) -> None:
    more = ["--method", "random"] if command == "search" else []
    run = tmp_path / "run"
    assert main([command, *TINY, *more, "--bits", "2", "3", "--episodes", "3", "--output", str(run)]) == 0
    result = json.loads((run / "result.json").read_text())
    assert result["options"]["bits"] == [2, 3]
    assert set(result["bits"].values()) <= {2, 3}
    assert main([command, *TINY, *more, "--bits", "2", "3", "--episodes", "4", "--output", str(run), "--resume"]) == 0
    assert main(["export", str(run), "--format", "packed"]) == 0
    answer = ["--budget", "0.08", "--cache", "none", "--episodes", "2", "--output", str(tmp_path / "new")]
    assert main(["budget", str(run), *answer]) == 0
    assert set(json.loads((tmp_path / "new" / "result.json").read_text())["bits"].values()) <= {2, 3}


def test_impossible_bits_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["haq", *TINY, "--bits", "3", "2"]) == 2
    assert "(3, 2)" in capsys.readouterr().err


def test_a_search_imports_no_finetuning() -> None:
    done = here("import sys, adrl_agents.search; print([m for m in sys.modules if m.startswith('adrl_gym.qat')])")
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("command", "given", "modern_arguments", "warning"),
    [
        ("finetune", ["r", "--no-mirror"], ["r", "--no-horizontal-flip"], "--no-mirror is now --no-horizontal-flip"),
        ("haq", ["--memo=x"], ["--cache=x"], "--memo is now --cache"),
        ("haq", ["--recipe", "refit"], ["--calibration", "sequential"], "--recipe is now --calibration, direct is now"),
        ("haq", ["--recipe=direct"], ["--calibration=independent"], "refit is now sequential"),
        ("export", ["r", "--recipe", "refit"], ["r", "--recipe", "refit"], ""),
    ],
)
def test_old_spellings_work_with_a_warning(
    command: str, given: list[str], modern_arguments: list[str], warning: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert modern(command, given) == (command, modern_arguments)
    error = capsys.readouterr().err
    assert warning in error
    assert error.count("\n") == bool(warning)
