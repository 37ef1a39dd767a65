"""What is known of a movie besides who likes it: genres, year, and the words that people and IMDb have for it."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import scipy.sparse as sp
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F
from scipy.sparse.linalg import svds

from pipeline.model.vectors import unit_rows

WORDS_PER_MOVIE = 50  # a movie keeps its most used words
WORD_COLUMNS = 32  # directions that are kept of all words
GENRE_COLUMNS = 64  # and of all genres, where there are more


class Content(NamedTuple):
    """Vectors of the n movies of the catalogue, in order of movie_id, whose inner products say how alike two are.

    genres: float64 [n, at most GENRE_COLUMNS], length at most 1, rare genres weighing more; years: [n, decades],
    length 1, from 1 for the same year to 0 ten years apart; words: [n, at most WORD_COLUMNS], length at most 1, rare
    words weighing more.
    All are 0 where nothing is known.
    """

    genres: np.ndarray
    years: np.ndarray
    words: np.ndarray


def movie_words(words: DataFrame, ratings: DataFrame) -> DataFrame:
    """Return movie_id, word, n: the WORDS_PER_MOVIE most used words of each movie, and how many used them.

    words: user_id, movie_id, word. A person's word counts where ratings has their rating of the movie, so that what
    is held out of the ratings does not come back by the words; a word without a user_id counts always.
    """
    rated = words.join(ratings.select("user_id", "movie_id"), ["user_id", "movie_id"], how="left_semi")
    counted = rated.unionByName(words.where("user_id is null")).groupBy("movie_id", "word")
    counted = counted.agg(F.count_distinct(F.coalesce("user_id", F.lit(-1))).alias("n"))
    most_used = F.row_number().over(Window.partitionBy("movie_id").orderBy(F.desc("n"), "word"))
    return counted.withColumn("place", most_used).where(F.col("place") <= WORDS_PER_MOVIE).drop("place")


def content(movies: DataFrame, words: DataFrame) -> Content:
    """Return the Content of the movies table and of movie_words. Runs two small Spark jobs.

    The driver holds 8 bytes per movie and column, of which there are as many as decades, GENRE_COLUMNS and
    WORD_COLUMNS; and WORDS_PER_MOVIE words per movie, about 40 bytes each, while it works.
    """
    catalogue = movies.select("movie_id", "genres", "year").orderBy("movie_id").toArrow()
    genres, years = (catalogue.column(name).to_pylist() for name in ("genres", "year"))
    used = words.orderBy("movie_id", "word").toArrow()
    rows = np.searchsorted(catalogue.column("movie_id").to_numpy(), used.column("movie_id").to_numpy())
    return Content(_genre_vectors(genres), _year_vectors(years), _word_vectors(len(genres), rows, used))


def _genre_vectors(genres: list[list[str]]) -> np.ndarray:
    """Return a row per movie, float64 [n, at most GENRE_COLUMNS], of length 1, rare genres weighing more; 0 without
    genres. A shop may have thousands of them: then the best approximation in so many columns, of length at most 1."""
    names = sorted({name for movie in genres for name in movie})
    column = {name: i for i, name in enumerate(names)}
    rows = np.repeat(np.arange(len(genres)), [len(movie) for movie in genres])
    columns = np.array([column[name] for movie in genres for name in movie], int)
    matrix = sp.csr_matrix((np.ones(len(rows)), (rows, columns)), (len(genres), len(names)))
    matrix.data[:] = 1  # also if it is there twice
    weighted = matrix.multiply(np.log(len(genres) / np.maximum(matrix.sum(axis=0).A1, 1))).tocsr()
    if len(names) <= GENRE_COLUMNS:
        return unit_rows(weighted.toarray())
    from sklearn.preprocessing import normalize  # here, because every worker would wait a second for it

    return _compressed(normalize(weighted), GENRE_COLUMNS)


def _year_vectors(years: list[int | None]) -> np.ndarray:
    """Return a row per movie, float64 [n, decades], of length 1: shares of the two decades' turns around its year; 0
    without a year."""
    known = np.array([year if year else np.nan for year in years], float) / 10
    if not np.isfinite(known).any():
        return np.zeros((len(years), 0))
    turns = np.arange(np.floor(np.nanmin(known)), np.floor(np.nanmax(known)) + 2)
    return unit_rows(np.nan_to_num(np.maximum(1 - np.abs(known[:, None] - turns), 0)))


def _word_vectors(n_movies: int, rows: np.ndarray, used: pa.Table) -> np.ndarray:
    """Return a row per movie, float64 [n, at most WORD_COLUMNS]: the best approximation in so many columns (truncated
    singular value decomposition) of the cosine of the words. rows: of the movie behind each row of movie_words."""
    names, columns = np.unique(used.column("word").to_numpy(zero_copy_only=False), return_inverse=True)
    n_movies_of = np.bincount(columns, minlength=len(names))
    shared = n_movies_of[columns] > 1  # a word of a single movie says nothing of others
    if not shared.any():
        return np.zeros((n_movies, 0))
    rows, used_by = rows[shared], used.column("n").to_numpy()[shared]
    weights = np.log1p(used_by) * np.log(n_movies / n_movies_of[columns[shared]])
    weights /= np.sqrt(np.bincount(rows, weights**2, minlength=n_movies))[rows]
    columns = np.unique(columns[shared], return_inverse=True)[1]
    matrix = sp.csr_matrix((weights, (rows, columns)), (n_movies, columns.max() + 1))
    return _compressed(matrix, WORD_COLUMNS)


def _compressed(matrix: sp.csr_matrix, columns: int) -> np.ndarray:
    """Return the best approximation of a matrix's rows in at most so many columns, as far as inner products go."""
    if min(matrix.shape) <= columns:
        directions, lengths, _ = np.linalg.svd(matrix.toarray(), full_matrices=False)
    else:
        directions, lengths, _ = svds(matrix, k=columns, v0=np.ones(min(matrix.shape)))
    return directions * lengths
