import pytest

from adjudge.core.errors import DataError, WorkError
from adjudge.core.secrets import from_environment, is_variable, masked, source_name


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("../data/train.csv", "train.csv"),
        ("/home/someone/train.csv", "train.csv"),
        ("hf://dair-ai/emotion", "hf://dair-ai/emotion"),
        ("embedded://drug-reviews", "embedded://drug-reviews"),
        ("postgresql://user:secret@host/shop?x=1", "postgresql://shop"),
        ("postgresql://user:sec/r?et@host/shop?options=a@b", "postgresql://shop"),
        ("postgresql://user:secret@host", "postgresql://host"),
        ("postgresql://host/shop?user=a@b&password=secret", "postgresql://shop"),
        ("mssql+pyodbc:///?odbc_connect=PWD%3Dsecret", "mssql+pyodbc://"),
        ("sqlite:////home/someone/shop.db", "sqlite://shop.db"),
        ("${DATABASE_URL}", "${DATABASE_URL}"),
    ],
)
def test_sources_are_named_without_folders_and_passwords(path, shown):
    assert source_name(path) == shown


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("SELECT a FROM t WHERE b = 'c' AND n = 1", "SELECT a FROM t WHERE b = 'c' AND n = 1"),
        ("SELECT decrypt(a, Password => 'it''s, me', n => 1)", "SELECT decrypt(a, Password=***, n => 1)"),
        ("SELECT * FROM f WHERE api_key = 'x y' OR key = 'z'", "SELECT * FROM f WHERE api_key=*** OR key = 'z'"),
        ("SELECT * FROM dblink('user=u pwd=x;y', 'q')", "SELECT * FROM dblink('user=u pwd=***;y', 'q')"),
        ("SELECT * FROM url('https://me:pa/ss@host/f')", "SELECT * FROM url('https://***@host/f')"),
        ("SELECT t.token FROM t JOIN s ON t.token = s.token", "SELECT t.token FROM t JOIN s ON t.token = s.token"),
    ],
)
def test_what_a_secret_word_is_set_to_is_masked_in_a_query(query, shown):
    assert masked(query) == shown


@pytest.mark.parametrize("error", [DataError, WorkError])
def test_no_error_shows_the_credentials_of_a_url(error):
    assert (
        str(error("a.yaml: got {'path': 'mysql://me:pa:s/s@host/db'}"))
        == "a.yaml: got {'path': 'mysql://***@host/db'}"
    )
    assert DataError(["see http://x:y@h/", "at 10:30 a@b"]).problems == ("see http://***@h/", "at 10:30 a@b")
    assert str(error("see https://host:80/a and me@there")) == "see https://host:80/a and me@there"


def test_variables_come_from_the_environment_and_lacking_ones_are_named(monkeypatch):
    monkeypatch.setenv("DB_USER", "me")
    monkeypatch.setenv("DB_PASSWORD", "")
    assert from_environment("${DB_USER}:${DB_PASSWORD}@$HOME", "x") == "me:@$HOME"
    with pytest.raises(DataError, match=r"params\.a: the environment variable NOT_A, NOT_B is not set; .*'\${NOT_A} "):
        from_environment("${NOT_A} ${DB_USER} ${NOT_B}", "params.a")
    assert is_variable("${DATABASE_URL}")
    assert not is_variable("sqlite:///${NAME}.db")
