"""Label probabilities: the arithmetic, and where in an answer they are taken."""

from __future__ import annotations

import math

import pytest

from earwitness.infer.menu import Menu, expected_score
from earwitness.infer.places import menu_of, menu_place
from earwitness.judges import parse
from earwitness.judges.spec import JudgeSpec


def scored(menu: Menu, table: dict[tuple[int, ...], dict[int, float]]) -> dict[str, float]:
    """Probabilities of a menu under a table of conditional probabilities."""
    found = menu.shares(lambda node, token: math.log(table[node].get(token, 1e-30)))
    assert sum(found.probabilities.values()) == pytest.approx(1.0)
    return dict(found.probabilities)


def test_single_tokens_are_normalised_over_the_menu() -> None:
    menu = Menu({"first": [1], "second": [2], "tie": [3]})
    assert menu.probes == [()]
    assert scored(menu, {(): {1: 0.2, 2: 0.1, 3: 0.1}}) == pytest.approx({"first": 0.5, "second": 0.25, "tie": 0.25})


def test_labels_of_several_tokens_multiply_and_share_their_beginning() -> None:
    menu = Menu({"first": [7, 1], "second": [7, 2], "tie": [9, 9, 9]})
    assert menu.branches == [(), (7,), (9,), (9, 9)]
    assert menu.probes == [(7,), (9, 9)]
    table = {(): {7: 0.8, 9: 0.2}, (7,): {1: 0.75, 2: 0.25}, (9,): {9: 0.5}, (9, 9): {9: 1.0}}
    assert scored(menu, table) == pytest.approx({"first": 0.6 / 0.9, "second": 0.2 / 0.9, "tie": 0.1 / 0.9})


def test_a_label_that_begins_another_gets_what_the_longer_leaves() -> None:
    menu = Menu({"real": [5], "really fake": [5, 6]})
    assert scored(menu, {(): {5: 1.0}, (5,): {6: 0.3}}) == pytest.approx({"real": 0.7, "really fake": 0.3})


def test_nothing_left_for_the_shorter_label_is_no_error() -> None:
    menu = Menu({"real": [5], "really fake": [5, 6]})
    probabilities = scored(menu, {(): {5: 1.0}, (5,): {6: 1.0}})
    assert probabilities["really fake"] == pytest.approx(1.0)
    assert sum(probabilities.values()) == pytest.approx(1.0)


def test_vanishing_probabilities_still_compare() -> None:
    menu = Menu({"first": [1], "second": [2]})
    found = menu.shares(lambda _node, token: -2000.0 - token)
    assert found.probabilities["first"] == pytest.approx(1 / (1 + math.exp(-1)))
    assert found.mass == 0.0


def test_the_mass_is_how_likely_any_label_is() -> None:
    menu = Menu({"first": [1], "tie": [7, 8], "neither": [7]})
    table = {(): {1: 0.2, 7: 0.5}, (7,): {8: 0.4}}
    found = menu.shares(lambda node, token: math.log(table[node][token]))
    assert found.mass == pytest.approx(0.2 + 0.5)
    assert found.probabilities["neither"] == pytest.approx(0.3 / 0.7)


def test_equal_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="must differ"):
        Menu({"first": [1], "second": [1]})


def test_an_expected_score_is_a_mean() -> None:
    assert expected_score({"1": 0.25, "5": 0.75}, {"1": 1.0, "5": 5.0}) == 4.0


PLAIN = JudgeSpec.of_type("pairwise")
THINKS = JudgeSpec.of_type("pairwise", chain_of_thought=True)
LAST = JudgeSpec.of_type("alld_ab")


@pytest.mark.parametrize(
    ("text", "judge", "before", "menu"),
    [
        ("1\nclearer", PLAIN, "", ["1", "2", "Tie"]),
        ("Tie", PLAIN, "", ["1", "2", "Tie"]),
        (" **2**\nclearer", PLAIN, " **", ["1", "2", "Tie"]),
        ("tie\nboth alike", PLAIN, "", ["1", "2", "tie"]),
        ("TIE", PLAIN, "", ["1", "2", "TIE"]),
        (
            "<think>\n1 or 2? 1\n</think>\n\n<answer>\n2\nless noise\n</answer>",
            THINKS,
            "<think>\n1 or 2? 1\n</think>\n\n<answer>\n",
            ["1", "2", "Tie"],
        ),
        ("1 thing is noise.\n[SpeechB]", LAST, "1 thing is noise.\n", ["[SpeechA]", "[SpeechB]"]),
    ],
)
def test_the_menu_is_scored_where_the_label_stands(text: str, judge: JudgeSpec, before: str, menu: list[str]) -> None:
    found = menu_place(text, judge, parse(text, judge))
    assert found is not None
    assert text[: found[0]] == before
    assert list(found[1].values()) == menu


@pytest.mark.parametrize("text", ["Response 2 is better.", "The second response wins.", "Overall I prefer response 1."])
def test_a_verdict_in_prose_has_no_place_to_score(text: str) -> None:
    read = parse(text, PLAIN)
    assert read.verdict is not None
    assert menu_place(text, PLAIN, read) is None


def test_a_score_is_scored_over_the_whole_numbers_of_its_scale() -> None:
    score = JudgeSpec.of_type("score", scale=(1.0, 3.0))
    assert menu_of(score) == {"1": "1", "2": "2", "3": "3"}
    assert menu_place("**2**\nquiet", score, parse("**2**\nquiet", score)) == (2, menu_of(score))
    for text in ("2.5", "2,5", "hello"):
        assert menu_place(text, score, parse(text, score)) is None
    assert menu_of(JudgeSpec.of_type("score", scale=(0.5, 5.0))) == {}
    assert menu_of(JudgeSpec.of_type("speecheval_assessment")) == {}
