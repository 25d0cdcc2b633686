from adjudge.core.protocols import SilentProgress


def test_silent_progress_takes_units_and_shows_nothing(capsys) -> None:
    with SilentProgress().task("work", 3) as advance:
        advance(1)
        advance(2)
    assert capsys.readouterr() == ("", "")
