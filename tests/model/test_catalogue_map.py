"""On the map those are near to each other whose lists are alike; the same lists make the same map."""

import numpy as np
import scipy.sparse as sp

from pipeline.model.catalogue_map import catalogue_map, list_vectors, places
from pipeline.schemas import spark_schema
from pipeline.serving.recommender import Recommender
from tests.conftest import publish


def nearest(points):
    """The row of the nearest other point, for each point."""
    distances = np.linalg.norm(points[:, None] - points[None], axis=2)
    np.fill_diagonal(distances, np.inf)
    return distances.argmin(axis=1)


def two_camps(n=12):
    """Lists of movies 1 to n: those of odd number hold each other, and so do those of even number."""
    return [
        (movie, other, rank, 1.0 / rank)
        for movie in range(1, n + 1)
        for rank, other in enumerate([m for m in range(1, n + 1) if m != movie and (m - movie) % 2 == 0], 1)
    ]


def test_a_list_is_a_row_of_length_one_with_the_movie_itself():
    movie_ids, neighbour_ids = np.array([7, 7, 7, 3]), np.array([3, 9, 5, 9])
    ids, vectors = list_vectors(movie_ids, neighbour_ids, np.array([8.0, 6.0, -1.0, 0.0]))
    assert ids.tolist() == [3, 7]
    # columns 3, 5, 7, 9; movie 7: itself 1, 3 at 8/8, 9 at 6/8, 5 at nothing; their length is sqrt(41) / 4
    row = np.array([4.0, 0.0, 4.0, 3.0]) / np.sqrt(41)
    np.testing.assert_allclose(vectors.toarray(), [[1.0, 0.0, 0.0, 0.0], row])


def test_two_camps_stand_apart_and_every_run_draws_the_same_map():
    movie_ids, neighbour_ids, _, similarities = map(np.array, zip(*two_camps(40), strict=True))
    ids, vectors = list_vectors(movie_ids, neighbour_ids, similarities)
    points = places(vectors)
    assert points.shape == (40, 2) and np.isfinite(points).all()
    assert np.abs(points).max() == 1 and np.allclose(points.mean(axis=0), 0, atol=1e-6)
    assert ((ids[nearest(points)] - ids) % 2 == 0).all()
    assert (places(vectors) == points).all()


def test_nine_titles_or_lists_that_are_all_the_same_make_no_map():
    movie_ids, neighbour_ids, _, similarities = map(np.array, zip(*two_camps(9), strict=True))
    assert places(list_vectors(movie_ids, neighbour_ids, similarities)[1]).shape == (0, 2)
    assert places(sp.csr_matrix(np.full((12, 12), 0.5))).shape == (0, 2)


def test_the_best_known_titles_with_a_list_are_placed(spark):
    lists = spark.createDataFrame(
        [(*row[:3], float(row[3]), float(row[3])) for row in two_camps(14)], spark_schema("neighbours")
    )
    support = {movie: 100 - movie for movie in range(1, 17)}  # 1 is best known; 15 and 16 have no list
    support[2] = 0
    movies = [(movie, "", None, [], None, None, n, None, "", str(movie), *[None] * 5) for movie, n in support.items()]
    movies = spark.createDataFrame(movies, spark_schema("movies"))
    table = catalogue_map(lists, movies, titles=12)
    assert table.column("movie_id").to_pylist() == [1, *range(3, 14)]
    assert spark.createDataFrame(table, spark_schema("catalogue_map")).count() == 12
    few = catalogue_map(lists, movies, titles=3)
    assert few.num_rows == 0 and few.schema == table.schema


def test_places_come_best_known_first_in_the_colours_of_the_commonest_first_genres(tmp_path):
    places_ = [(movie, float(movie), -0.5) for movie in (1, 2, 3, 5, 10)]
    recommender = Recommender(publish(tmp_path, catalogue_map=places_))
    assert [(place.title, place.genre, place.x) for place in recommender.places(genres=1)] == [
        ("The Matrix", "other", 5.0), ("Toy Story", "Animation", 1.0), ("Heat", "other", 3.0),
        ("Toy Story 2", "Animation", 2.0), ("Genreless", "other", 10.0),
    ]  # fmt: skip
    # Action and Crime are as common as each other: the first by name.
    assert [place.genre for place in recommender.places(genres=2)][:3] == ["Action", "Animation", "other"]
    recommender.close()
