import json
from pathlib import Path
from typing import Literal

import pytest
import yaml

from adjudge.core.errors import ConfigError
from adjudge.core.registry import Entry, Registry
from adjudge.methods.method import Method, MethodConfig
from adjudge.recipe import recipe
from adjudge.recipe.recipe import load_recipe, model_name, plan


class ModelConfig(MethodConfig):
    kind: Literal["needs_model"] = "needs_model"
    model: str
    rank: int = 8


NEEDS_MODEL = Method("needs_model", ModelConfig, print)


def test_every_problem_of_recipe_task_and_methods_comes_in_one_message(tmp_path):
    (tmp_path / "task.yaml").write_text("name: t\nversion: one\nlabell: stars\ndata: {validation: v.csv}\n")
    file = tmp_path / "recipe.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "task": "task.yaml",
                "seed": [0],
                "budget": {"max_train_seconds": "long"},
                "methods": [
                    {"kind": "tfidf", "min_dff": 2, "lowercase": "yes"},
                    {"kind": "tfidff"},
                    {"min_df": 2},
                    {"kind": "majority", "seeds": [1, 1]},
                ],
            }
        )
    )
    with pytest.raises(ConfigError) as caught:
        load_recipe(file)
    text = str(caught.value)
    for expected in (
        "did you mean 'seeds'",
        "budget.max_train_seconds",
        "did you mean 'label'",
        "task.yaml: version",
        "data.train: missing",
        "methods.0 (tfidf): min_dff: unknown key; did you mean 'min_df'",
        "methods.0 (tfidf): lowercase",
        "unknown method 'tfidff'",
        "methods.2: kind: missing",
        "seeds must differ",
    ):
        assert expected in text, expected
    assert all(str(tmp_path) in line for line in caught.value.problems)


def test_a_recipe_without_its_required_keys_says_so(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("description: nothing else\n")
    with pytest.raises(ConfigError, match=r"task: missing(.|\n)*methods: missing"):
        load_recipe(file)


def test_a_task_file_that_is_not_there_is_named(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("task: gone.yaml\nmethods: [{kind: majority}]\n")
    with pytest.raises(ConfigError, match=r"gone\.yaml: no such file"):
        load_recipe(file)


def test_a_task_without_data_in_either_file_is_refused(tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("task: {name: t}\nmethods: [{kind: majority}]\n")
    with pytest.raises(ConfigError, match="data: missing"):
        load_recipe(file)


def test_overrides_reach_options_that_the_recipe_leaves_at_their_default(recipe_file):
    file = recipe_file(methods=[{"kind": "majority"}, {"kind": "tfidf"}, {"kind": "tfidf", "min_df": 3}])
    loaded = load_recipe(file, overrides=["method.c=1e-1", "seeds=[4]", "data.split_seed=7"])
    assert [getattr(method.options, "c", None) for method in loaded.methods] == [None, 0.1, 0.1]
    assert loaded.methods[2].options.min_df == 3
    assert loaded.recipe.seeds == [4]
    assert loaded.data.split_seed == 7
    assert loaded.base == file.parent.parent / "recipes" / ".." / "tasks"


def test_overrides_apply_in_order_also_to_methods_that_one_of_them_gives(recipe_file):
    loaded = load_recipe(recipe_file(), overrides=["methods=[{kind: tfidf}]", "method.min_df=7"])
    assert [method.options.min_df for method in loaded.methods] == [7]
    with pytest.raises(ConfigError, match="no method of the recipe has an option 'rank'"):
        load_recipe(recipe_file(), overrides=["methods=[{kind: tfidf}]", "method.rank=8"])


def test_an_option_whose_value_is_no_yaml_is_refused(recipe_file):
    with pytest.raises(ConfigError, match="not valid YAML; put it in quotes"):
        load_recipe(recipe_file(), overrides=["methods=[{kind: tfidf}]", "method.word_ngrams=[1"])


def test_an_override_that_nothing_takes_is_an_error(recipe_file):
    with pytest.raises(ConfigError, match=r"method\.rank"):
        load_recipe(recipe_file(), overrides=["method.rank=8"])


def test_data_root_is_where_relative_data_paths_start(recipe_file, tmp_path):
    loaded = load_recipe(recipe_file(data={"train": "train.txt"}), data_root=tmp_path / "elsewhere")
    assert loaded.base == tmp_path / "elsewhere"
    assert load_recipe(recipe_file(data={"train": "train.txt"})).base == tmp_path / "recipes"


def test_plan_has_every_method_model_and_seed_with_names_that_differ(recipe_file):
    file = recipe_file(
        methods=[
            {"kind": "majority"},
            {"kind": "tfidf", "seeds": [3], "name": "words"},
        ],
        seeds=[0, 1],
    )
    runs = plan(load_recipe(file))
    assert [(run.display, run.seed) for run in runs] == [("majority", 0), ("majority", 1), ("words", 3)]
    assert runs[2].name == f"words-s3-{runs[2].config_hash[:8]}"
    assert len({run.config_hash for run in runs}) == 3


def test_a_list_of_models_multiplies_and_an_options_change_gives_another_run(recipe_file, tmp_path, monkeypatch):
    table = Registry("method", {"needs_model": Entry(f"{__name__}:NEEDS_MODEL", "for this test")})
    monkeypatch.setattr(recipe, "METHODS", table)
    folder = tmp_path / "my model"
    folder.mkdir()
    file = recipe_file(methods=[{"kind": "needs_model", "model": ["owner/Name-1B", str(folder)], "rank": 4}])
    runs = plan(load_recipe(file))
    assert [run.model for run in runs] == ["owner/Name-1B", "my model"]
    assert runs[0].name.startswith("needs_model-Name-1B-s0-")
    assert runs[1].name.startswith("needs_model-my-model-s0-")
    assert str(tmp_path) not in str([run.config for run in runs])
    other = plan(load_recipe(file, overrides=["method.rank=16"]))
    assert other[0].config_hash != runs[0].config_hash


def test_the_same_run_twice_in_a_recipe_is_refused(recipe_file):
    with pytest.raises(ConfigError, match="planned twice"):
        plan(load_recipe(recipe_file(methods=[{"kind": "majority"}, {"kind": "majority"}])))


def test_a_runs_hash_follows_content_and_not_place(recipe_file, tmp_path):
    file = recipe_file()
    before = plan(load_recipe(file))[0]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "reviews.csv").write_bytes((tmp_path / "reviews.csv").read_bytes())
    moved = load_recipe(file, overrides=["data.train=reviews.csv"], data_root=tmp_path / "other")
    assert plan(moved)[0].config_hash == before.config_hash
    with (tmp_path / "reviews.csv").open("a") as stream:
        stream.write("r999,one more row that is new,pos,north\n")
    assert plan(load_recipe(file))[0].config_hash != before.config_hash


@pytest.mark.parametrize("role", ["train", "test"])
def test_a_run_tells_of_a_query_without_its_secrets_but_is_told_apart_by_them(recipe_file, role):
    def planned(secret):
        query = f"SELECT * FROM dblink('host=h password={secret}') WHERE token = '{secret}' AND year = :year"
        source = {"path": f"postgresql://me:{secret}@host/shop", "query": query, "params": {"year": "${YEAR}"}}
        data = {"train": "../reviews.csv", role: source}
        return plan(load_recipe(recipe_file(data=data)))[0]

    first, second = planned("abc"), planned("xyz")
    told = first.config["data"][role]
    assert told["path"] == "postgresql://shop"
    assert told["query"] == "SELECT * FROM dblink('host=h password=***') WHERE token=*** AND year = :year"
    assert told["params"] == {"year": "${YEAR}"}
    assert "abc" not in json.dumps(first.config)
    assert first.config_hash != second.config_hash
    assert first.config_hash == planned("abc").config_hash
    assert first.config == second.config


def test_models_are_named_without_folders(tmp_path):
    assert model_name("meta-llama/Meta-Llama-3.1-8B") == "meta-llama/Meta-Llama-3.1-8B"
    assert model_name(str(tmp_path / "gone")) == "gone"
    assert model_name(str(Path("./here/model"))) in {"model", "here/model"}


def test_a_head_may_be_written_as_its_kind_alone(recipe_file):
    methods = [{"kind": "lora", "head": "label"}, {"kind": "lora", "head": {"kind": "label"}, "rank": 4}]
    overrides = ["method.head.train_label_rows=true"]
    short, long = load_recipe(recipe_file(methods=methods), overrides=overrides).methods
    assert short.options.head == long.options.head
    assert (short.options.head.kind, short.options.head.train_label_rows) == ("label", True)
    with pytest.raises(ConfigError, match="'generate'"):
        load_recipe(recipe_file(methods=[{"kind": "lora", "head": "words"}]))


def test_overrides_find_options_inside_the_methods_own_configs(recipe_file):
    file = recipe_file(methods=[{"kind": "full"}, {"kind": "lora", "training": {"batch_size": 4}}, {"kind": "tfidf"}])
    loaded = load_recipe(file, overrides=["method.learning_rate=1e-4", "method.rank=2", "methods.0.max_tokens=32"])
    full, lora, _ = (method.options for method in loaded.methods)
    assert full.training.learning_rate == lora.training.learning_rate == 1e-4
    assert lora.training.batch_size == 4
    assert (lora.rank, full.max_tokens, lora.max_tokens) == (2, 32, 256)
    with pytest.raises(ConfigError, match=r"methods\.1 \(lora\): training\.batch_size"):
        load_recipe(file, overrides=["method.training.batch_size=many"])
