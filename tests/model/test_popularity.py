"""Popularity per genre, worked by hand."""

from pipeline.model.popularity import popularity_table


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


def test_a_genre_may_have_more_titles_than_a_rank_can_count(spark):
    ids = spark.range(40_000).selectExpr("cast(id as int) as movie_id")
    ratings = ids.selectExpr("1 as user_id", "movie_id", "cast(4 as float) as rating")
    movies = ids.selectExpr("movie_id", "array('A') as genres", "1 as n_ratings")
    table = popularity_table(ratings, movies, min_rating=4.0, titles_per_genre=3, min_support=1)
    assert sorted((row.genre, row.rank, row.movie_id) for row in table.collect()) == [
        (genre, rank, rank - 1) for genre in "*A" for rank in (1, 2, 3)
    ]
