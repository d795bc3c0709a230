"""The documents: length, links, generated tables, the notebook and the site."""

import importlib
import re
import runpy
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = [*ROOT.glob("*.md"), ROOT / "agents" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)")
YAML = re.compile(r"```yaml\n(.*?)```", re.DOTALL)


def test_readme_is_short() -> None:
    assert len(README.read_text().splitlines()) <= 120


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page: Path) -> None:
    links = LINK.findall(page.read_text())
    assert [link for link in links if not page.parent.joinpath(link).exists()] == []


@pytest.mark.parametrize("page", [page for page in PAGES if YAML.search(page.read_text())], ids=lambda page: page.name)
def test_yaml_blocks_are_whole(page: Path) -> None:
    yaml = pytest.importorskip("yaml")  # comes with the extras ray and docs
    assert all(isinstance(yaml.safe_load(block), dict) for block in YAML.findall(page.read_text()))


def test_every_page_is_in_the_site() -> None:
    contents = (ROOT / "docs" / "index.md").read_text().splitlines()
    docs = ROOT / "docs"
    pages = {path.relative_to(docs).with_suffix("").as_posix() for path in PAGES if path.is_relative_to(docs)}
    assert pages - {"index"} <= {*contents}


def packages() -> set[str]:
    folders = [ROOT / "adrl_gym", ROOT / "agents" / "adrl_agents"]
    found = {path.parent.relative_to(ROOT).as_posix() for folder in folders for path in folder.rglob("__init__.py")}
    return {path.removeprefix("agents/").replace("/", ".") for path in found}


@pytest.mark.usefixtures("benchmark_scripts")
def test_tables_are_what_the_results_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["report.py", "--check"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "benchmarks" / "report.py"), run_name="__main__")
    assert ended.value.code == 0


def test_notebook_runs_from_top_to_bottom(tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "docs" / "notebooks" / "quickstart.ipynb", as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    printed = "".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))
    assert "smaller" in printed


def test_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "-n", "-W", "--keep-going", "-q", "docs", str(tmp_path / "html")]
    built = subprocess.run([*command, "-d", str(tmp_path / "doctrees")], cwd=ROOT, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    reference = "".join(page.read_text() for page in (tmp_path / "html" / "api").glob("*.html"))
    documented = {*re.findall(r'id="(adrl_(?:gym|agents)[\w.]*)"', reference)}
    assert "adrl_gym.QuantProblem.evaluate" in documented
    short = {name.rpartition(".")[2] for name in documented}
    public = {name for package in packages() for name in importlib.import_module(package).__all__}
    assert public - short == set()
