"""Pairs of titles that many people know: a person reads the ten for them in the report. Nothing is measured."""

PAIRS = (
    ("Toy Story (1995)", "Finding Nemo (2003)"),
    ("The Godfather (1972)", "Goodfellas (1990)"),
    ("Alien (1979)", "The Terminator (1984)"),
    ("Amelie (2001)", "Spirited Away (2001)"),
    ("Notting Hill (1999)", "Pretty Woman (1990)"),
    ("Saw (2004)", "The Ring (2002)"),
    ("Casablanca (1942)", "Rear Window (1954)"),
    ("Blade Runner (1982)", "2001: A Space Odyssey (1968)"),
    ("Airplane! (1980)", "Monty Python and the Holy Grail (1975)"),
    ("Clueless (1995)", "Mean Girls (2004)"),
    ("Saving Private Ryan (1998)", "Full Metal Jacket (1987)"),
    ("The Dark Knight (2008)", "Iron Man (2008)"),
)
