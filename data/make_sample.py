"""Cut data/sample out of data/ml-latest-small: the 60 most-rated movies and 40 of the users who rated many of them."""

import csv
import shutil
from collections import Counter
from pathlib import Path

HERE = Path(__file__).parent
N_MOVIES, N_USERS, MIN_RATINGS = 60, 40, 25


def main(source: Path = HERE / "ml-latest-small", target: Path = HERE / "sample") -> None:
    """Write ratings.csv, movies.csv, links.csv and the licence; the same files on every run."""
    ratings = read(source / "ratings.csv")
    support = Counter(row[1] for row in ratings[1:])
    movies = set(sorted(support, key=lambda movie: (-support[movie], int(movie)))[:N_MOVIES])
    activity = Counter(row[0] for row in ratings[1:] if row[1] in movies)
    active = sorted((user for user in activity if activity[user] >= MIN_RATINGS), key=int)
    users = set(active[:: len(active) // N_USERS][:N_USERS])

    target.mkdir(exist_ok=True)
    write(target / "ratings.csv", ratings[:1] + [row for row in ratings[1:] if row[0] in users and row[1] in movies])
    for name in ("movies.csv", "links.csv"):
        rows = read(source / name)
        write(target / name, rows[:1] + [row for row in rows[1:] if row[0] in movies])
    shutil.copy(source / "README.txt", target / "README.txt")


def read(path: Path) -> list[list[str]]:
    """Return the rows of a CSV file, header first."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.reader(file))


def write(path: Path, rows: list[list[str]]) -> None:
    """Write rows as MovieLens does: quotes only where a field holds a comma or a quote."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


if __name__ == "__main__":
    main()
