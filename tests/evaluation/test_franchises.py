"""Families of titles: the rule, on titles as MovieLens has them."""

import pytest

from pipeline.evaluation.franchises import family, franchises


@pytest.mark.parametrize(
    ("title", "name"),
    [
        ("Toy Story", "toy story"),
        ("Toy Story 2", "toy story"),
        ("The Godfather: Part II", "godfather"),
        ("The Godfather", "godfather"),
        ("Star Wars: Episode IV - A New Hope", "star wars"),
        ("The Lord of the Rings: The Two Towers", "lord of the rings"),
        ("Alien\u00b3 (a.k.a. Alien 3)", "alien3"),
        ("Aliens", "aliens"),
        ("Rocky IV", "rocky"),
        ("Kill Bill: Vol. 1", "kill bill"),
        ("Back to the Future Part III", "back to the future"),
        ("Harry Potter and the Goblet of Fire", "harry potter and the goblet of fire"),
        ("Mission: Impossible II", "mission"),
        ("Friday the 13th Part 2", "friday the 13th"),
        ("Saw III", "saw"),
        ("Am\u00e9lie (Fabuleux destin d'Am\u00e9lie Poulain, Le)", "amelie"),
        ("12 Angry Men", "12 angry men"),
        ("Apollo 13", "apollo"),
        ("Bill & Ted's Bogus Journey", "bill and ted s bogus journey"),
        ("9", "9"),
    ],
)
def test_the_family_of_a_title(title, name):
    assert family(title) == name


def test_families_have_two_titles_or_more_and_no_word_makes_a_large_one():
    titles = ["Saw", "Heat", "Saw II", "9", "9 (2009)", *[f"Love: {i}" for i in range(20)], "Saw III"]
    assert franchises(titles) == [[0, 2, 25]]
