import subprocess
import sys

import pytest

from adjudge.core.errors import ConfigError
from adjudge.core.registry import Entry, Registry

TABLE: Registry[object] = Registry(
    "shape",
    {
        "circle": Entry("collections:OrderedDict", "round"),
        "from_keys": Entry("collections:OrderedDict.fromkeys", "an attribute of an attribute"),
        "broken": Entry("no_such_module_anywhere:x", "not there"),
    },
)


def test_names_keep_the_order_of_the_table() -> None:
    assert list(TABLE) == ["circle", "from_keys", "broken"]
    assert "circle" in TABLE
    assert "square" not in TABLE
    assert TABLE.summary("circle") == "round"


def test_a_name_is_imported_when_it_is_asked_for() -> None:
    from collections import OrderedDict

    assert TABLE.load("circle") is OrderedDict
    assert TABLE.load("from_keys") == OrderedDict.fromkeys


@pytest.mark.parametrize("ask", [TABLE.load, TABLE.summary])
def test_an_unknown_name_lists_the_names_and_the_nearest(ask: object) -> None:
    with pytest.raises(ConfigError, match=r"unknown shape 'circel'; allowed: .*; did you mean 'circle'\?"):
        ask("circel")  # type: ignore[operator]


def test_a_broken_target_is_not_hidden() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        TABLE.load("broken")


def test_the_table_of_methods_imports_no_model_library() -> None:
    code = "import sys; from adjudge.methods import METHODS; assert list(METHODS); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
