"""Tables as text and as HTML."""

from gencaps_lib.tables import Table, lines


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


def test_table_is_safe_html_and_plain_text():
    table = Table(["digit", "loss"], [["<4>", 0.5], ["9", 12]], caption="a & b")
    shown = table._repr_html_()
    assert "<td>&lt;4&gt;</td>" in shown
    assert "<caption>a &amp; b</caption>" in shown
    assert repr(table).splitlines() == ["a & b", "digit  loss", "<4>     0.5", "9        12"]


def test_a_line_does_not_break_within_a_change():
    table = Table(["in → out"], [["0.1 → 0.2; 0.3 → 0.4"]])
    assert "<td>0.1&nbsp;→&nbsp;0.2; 0.3&nbsp;→&nbsp;0.4</td>" in table._repr_html_()
    assert "0.1 → 0.2; 0.3 → 0.4" in repr(table)
