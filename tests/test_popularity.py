"""Popularity per genre, worked by hand."""

from pipeline.popularity import popularity_table


def test_most_liked_first_per_genre_and_overall(spark):
    stars = [(user, movie, 4.0) for movie, n in ((1, 4), (2, 2), (3, 2), (4, 1)) for user in range(n)]
    stars += [(user, 3, 3.5) for user in range(4, 10)]
    ratings = spark.createDataFrame(stars, "user_id int, movie_id int, rating float")
    movies = spark.createDataFrame(
        [(1, ["A"], 9), (2, ["A", "B"], 9), (3, ["B"], 9), (4, ["B"], 1), (5, ["A"], 9)],
        "movie_id int, genres array<string>, n_ratings int",
    )
    table = popularity_table(ratings, movies, min_rating=4.0, titles_per_genre=2, min_support=2)
    rows = sorted((*tuple(row)[:3], round(row.score, 6)) for row in table.collect())
    assert rows == [
        ("*", 1, 1, 0.4),
        ("*", 2, 2, 0.2),
        ("A", 1, 1, 0.4),
        ("A", 2, 2, 0.2),
        ("B", 2, 1, 0.2),
        ("B", 3, 2, 0.2),
    ]
