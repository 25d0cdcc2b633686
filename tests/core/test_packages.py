from adjudge.core.packages import package_file


def test_a_file_of_an_installed_package_is_found_without_importing_it() -> None:
    found = package_file("pytest", "pytest/py.typed")
    assert found is not None
    assert found.is_file()


def test_what_is_not_there_is_none() -> None:
    assert package_file("no-such-distribution-anywhere", "x") is None
    assert package_file("pytest", "pytest/no-such-file") is None
