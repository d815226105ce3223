"""Tables as text."""

from gencaps_lib.tables import lines


def test_numbers_stand_to_the_right_and_words_to_the_left():
    rows = [
        ("model", "steps", "seeds", "ratio", ""),
        ("a", "1,400", "0, 1", "2.68", "12 %"),
        ("longer", "900", "0", "", "−1e-3"),
    ]
    assert lines(rows) == [
        "model   steps  seeds  ratio",
        "a       1,400  0, 1    2.68   12 %",
        "longer    900  0             −1e-3",
    ]


def test_nothing_but_names_is_a_table_too():
    assert lines([("model", "steps")]) == ["model  steps"]
