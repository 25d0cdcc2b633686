import json

import pytest

from adjudge.core.errors import MissingExtraError
from adjudge.core.optional import require


def test_an_installed_package_is_returned() -> None:
    assert require("json", "x", "read") is json


def test_a_missing_package_names_the_extra_and_the_purpose() -> None:
    with pytest.raises(MissingExtraError, match=r"needed to read Excel files .* pip install 'adjudge\[excel\]'"):
        require("no_such_package_anywhere", "excel", "read Excel files")
