"""Search on validation data: what it finds, how it ends trials, how it goes on."""

from __future__ import annotations

import json
import multiprocessing
import sys

import pytest

from adjudge.core.config import read_yaml
from adjudge.core.errors import ConfigError, DataError, MissingExtraError, WorkError
from adjudge.core.studies import StudyRecord, TrialRecord
from adjudge.experiment import tune
from adjudge.experiment.runner import run_recipe
from adjudge.experiment.tune import Search, targets, tune_recipe
from adjudge.methods import METHODS, Method
from adjudge.recipe.recipe import load_recipe
from adjudge.recipe.tuned_recipe import write_tuned
from tests.tiny_models import tiny_bert

TFIDF = {"kind": "tfidf", "char_ngrams": None, "search": {"c": {"low": 0.01, "high": 10.0, "log": True}}}


@pytest.fixture
def studied(recipe_file, tmp_path):
    """Tune a recipe of these methods: ``studied([...], trials=3)``."""

    def run(methods, *, trials=3, data=None, **options):
        changes = {} if data is None else {"data": data}
        recipe = load_recipe(recipe_file(methods=methods, **changes))
        return recipe, tune_recipe(recipe, Search(trials=trials, **options), runs=tmp_path / "runs")

    return run


def test_the_best_trial_has_the_best_validation_score(studied) -> None:
    _, (study,) = studied([{"kind": "majority"}, TFIDF], trials=6)
    assert (study.method, study.model, len(study.trials)) == ("tfidf", None, 6)
    assert study.best_trial is not None
    assert study.best_trial.value == max(trial.value for trial in study.trials)
    assert all(0.01 <= trial.options["c"] <= 10 for trial in study.trials)


def test_the_same_seed_draws_the_same_options(studied, tmp_path) -> None:
    found = [studied([TFIDF], study=name)[1][0].trials for name in ("one", "two")]
    assert [trial.options for trial in found[0]] == [trial.options for trial in found[1]]
    other = studied([TFIDF], study="three", seed=1)[1][0].trials
    assert [trial.options for trial in other] != [trial.options for trial in found[0]]


@pytest.mark.slow
def test_a_search_goes_on_where_it_was_left(studied) -> None:
    before = studied([TFIDF], trials=2)[1][0].trials
    after = studied([TFIDF], trials=5)[1][0].trials
    assert after[:2] == before
    assert len(after) == 5
    assert len({trial.options["c"] for trial in after}) == 5
    assert studied([TFIDF], trials=4)[1][0].trials == after


@pytest.mark.slow
def test_another_space_is_another_study(studied) -> None:
    studied([TFIDF], trials=2)
    changed = {**TFIDF, "search": {"c": [0.1, 1.0]}}
    assert len(studied([changed], trials=2)[1][0].trials) == 2


@pytest.mark.slow
def test_trials_that_a_killed_process_left_are_forgotten(studied, tmp_path) -> None:
    recipe, _ = studied([TFIDF], trials=2)
    (target,) = targets(recipe, Search())
    tune._study(target, tmp_path / "runs" / recipe.name / "tune", 0).ask()
    _, (study,) = studied([TFIDF], trials=3)
    assert [trial.state for trial in study.trials] == ["complete", "complete", "failed", "complete"]


def test_the_test_split_is_neither_read_nor_predicted(studied, tmp_path) -> None:
    data = {"train": "../reviews.csv", "test": "../there-is-no-such-file.csv"}
    _, (study,) = studied([TFIDF], trials=2, data=data)
    assert study.best is not None


def test_the_gate_stops_a_search_where_it_would_stop_a_run(studied, tmp_path) -> None:
    data = {"train": "../reviews.csv", "validation": "../reviews.csv"}
    with pytest.raises(DataError) as stopped:
        studied([TFIDF], data=data)
    assert not (tmp_path / "runs").exists()
    with pytest.raises(DataError) as run:
        run_recipe(load_recipe(tmp_path / "recipes" / "reviews.yaml"), runs=tmp_path / "runs")
    assert str(stopped.value).splitlines()[0] == str(run.value).splitlines()[0]
    assert "accept: [" in str(stopped.value)
    code = str(stopped.value).partition("accept: [")[2].partition("]")[0]
    _, (study,) = studied([TFIDF], trials=1, data={**data, "accept": code.split(", ")})
    assert study.best == 0


class _Scripted:
    """A method whose trials report given curves."""

    def __init__(self, curves: dict[int, list[float]]) -> None:
        self.curves, self.seen = curves, []

    def fit(self, train, validation, config, setting):
        number = len(self.seen)
        self.seen.append([])
        for value in self.curves.get(number, [0.9, 0.9, 0.9]):
            self.seen[-1].append(value)
            setting.log({"event": "evaluation", "macro_f1": value})
            setting.log({"event": "step", "loss": 1.0})
        return METHODS.load("majority").fit(train, validation, METHODS.load("majority").config(), setting)


def _scripted(monkeypatch, fit) -> None:
    real = METHODS.load("tfidf")
    monkeypatch.setattr(
        METHODS,
        "load",
        lambda name, load=METHODS.load: Method("tfidf", real.config, fit) if name == "tfidf" else load(name),
    )


@pytest.mark.slow
def test_a_trial_below_the_median_ends_early(studied, monkeypatch) -> None:
    script = _Scripted({6: [0.2, 0.2, 0.2]})
    _scripted(monkeypatch, script.fit)
    _, (study,) = studied([TFIDF], trials=8)
    assert script.seen[6] == [0.2]
    assert [trial.state for trial in study.trials].count("pruned") == 1
    assert (study.trials[6].value, study.trials[6].curve) == (0.2, (0.2,))
    assert study.trials[0].curve == (0.9, 0.9, 0.9)


def test_work_that_fails_with_some_options_does_not_end_the_search(studied, monkeypatch) -> None:
    calls = []

    def fit(train, validation, config, setting):
        calls.append(config.c)
        if len(calls) == 1:
            raise WorkError("the loss is nan")
        return METHODS.load("majority").fit(train, validation, METHODS.load("majority").config(), setting)

    _scripted(monkeypatch, fit)
    _, (study,) = studied([TFIDF], trials=2)
    assert [trial.state for trial in study.trials] == ["failed", "complete"]


def test_no_trial_begins_after_the_timeout(studied) -> None:
    assert len(studied([TFIDF], trials=50, timeout_seconds=0.0)[1][0].trials) <= 1


@pytest.mark.slow
def test_processes_share_the_trials(studied) -> None:
    assert multiprocessing.get_context("spawn")
    _, (study,) = studied([TFIDF], trials=4, jobs=2)
    assert [trial.state for trial in study.trials] == ["complete"] * 4


@pytest.mark.slow
def test_a_network_is_searched(studied, tmp_path) -> None:
    method = {
        "kind": "full",
        "model": str(tiny_bert(tmp_path / "bert")),
        "training": {"epochs": 1, "batch_size": 16},
        "search": {"training.learning_rate": {"low": 1e-4, "high": 1e-2, "log": True}},
    }
    _, (study,) = studied([method], trials=2)
    assert [len(trial.curve) for trial in study.trials] == [2, 2]


def test_without_the_package_the_remedy_is_named(studied, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'adjudge\[tune\]'"):
        studied([TFIDF])


def test_a_recipe_without_anything_to_search_is_refused(studied) -> None:
    with pytest.raises(ConfigError, match="nothing to search: majority"):
        studied([{"kind": "majority"}])
    with pytest.raises(ConfigError, match="no method is called 'lora'; allowed: tfidf"):
        studied([TFIDF], method="lora")


def test_the_tuned_recipe_runs_with_the_best_options(studied, tmp_path) -> None:
    recipe, studies = studied([{"kind": "majority"}, {**TFIDF, "seeds": [3]}], trials=2)
    file = recipe.path.with_name("reviews-tuned.yaml")
    write_tuned(recipe, studies, file)
    tuned = load_recipe(file)
    assert tuned.name == "reviews-tuned"
    assert [entry.name for entry in tuned.methods] == ["majority", "tfidf"]
    best = studies[0].best_trial
    assert best is not None
    assert (tuned.methods[1].options.c, tuned.methods[1].seeds) == (best.options["c"], (3,))
    assert tuned.methods[1].options.char_ngrams is None
    assert "search" not in read_yaml(file)["methods"][1]


def test_a_record_is_plain_data() -> None:
    trial = TrialRecord(0, "complete", 0.5, 1.0, {"rank": 8}, (0.4, 0.5))
    study = StudyRecord("s", "lora", "m", (trial,), 0, {"rank": 1.0})
    assert json.loads(json.dumps(study.to_json()))["trials"][0]["options"] == {"rank": 8}
    assert study.best_trial is trial
