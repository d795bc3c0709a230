"""Rows of searches on a folder of images."""

from benchmarks.searches.imagenet import with_rows


def test_rows_of_a_run_take_the_place_of_its_older_ones_and_leave_the_others() -> None:
    def row(budget: str, agent: str, evaluations: str) -> dict[str, str]:
        of = {"network": "one", "budget": budget, "agent": agent, "seed": "0", "recipe": "refit"}
        return {**of, "evaluations": evaluations}

    known = [row("0.125", "adrl", "40"), row("0.09375", "haq", "99")]
    found = with_rows(known, [{**row("0.125", "adrl", "38"), "budget": 0.125, "seed": 0}])
    assert [(of["agent"], of["evaluations"]) for of in found] == [("haq", "99"), ("adrl", "38")]
