"""The neighbour lists of a configuration, from the likes and factors they are learned from."""

from collections.abc import Callable
from typing import Any

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.config import Settings
from pipeline.model.als import fit, item_factors_table, likes_table
from pipeline.model.content import Content, content, movie_words
from pipeline.model.neighbours import Search, cut_of, neighbours_table, write_neighbours
from pipeline.model.spectral import (
    KNOBS,
    Spectrum,
    co_occurrences,
    pairs_table,
    spectral_vectors,
    spectrum,
    weighted_likes,
)
from pipeline.model.task_files import TaskFiles
from pipeline.model.vectors import Scales, cosine_vectors, whitened_vectors
from pipeline.schemas import VECTORS


def lists(config: Settings, learned: "Learned", only: DataFrame | None = None) -> DataFrame:
    """Return the neighbours table of a configuration. only: movie_id of the movies whose lists are wanted."""
    return neighbours_table(_search(config, learned)._replace(only=only), k=config.neighbours.k)


def write_lists(config: Settings, learned: "Learned", files: TaskFiles) -> DataFrame:
    """Have the tasks write the neighbours table of a configuration into files; see write_neighbours()."""
    return write_neighbours(_search(config, learned), files, k=config.neighbours.k)


def _search(config: Settings, learned: "Learned") -> Search:
    """Return the search for a configuration's lists. Runs Spark jobs."""
    vectors, scales, pairs = _vectors(config, learned)
    n_movies, length = vectors.agg(F.count("*"), F.max(F.size("candidate"))).head()
    candidates = learned.movies.where(learned.movies.n_ratings >= config.neighbours.min_support)
    cut = cut_of(config.neighbours, n_queries=n_movies, n_candidates=n_movies, length=length, cores=learned.cores)
    return Search(vectors, candidates, cut, scales, pairs=pairs)


def _vectors(config: Settings, learned: "Learned") -> tuple[DataFrame, Scales, DataFrame | None]:
    """Return the vectors whose inner products are the scores, the Scales of these, and the pairs that add, if any."""
    if config.neighbours.similarity == "whitened":
        return *whitened_vectors(learned.item_factors(config), whitening=config.neighbours.whitening), None
    if config.neighbours.similarity == "cosine":
        return *cosine_vectors(learned.item_factors(config)), None
    weights = vars(config.spectral)
    known = learned.spectrum(config)
    vectors, scales = spectral_vectors(known, learned.content(), **{name: weights[name] for name in KNOBS})
    pairs = None
    if config.spectral.residual:
        pairs = co_occurrences(
            learned.pairs(config),
            known,
            popularity_exponent=config.spectral.popularity_exponent,
            residual=config.spectral.residual,
        )
    return learned.ratings.sparkSession.createDataFrame(vectors, VECTORS), scales, pairs


class Learned:
    """What lists are made from, learned from some ratings; each piece is made once for the settings it depends on."""

    KEPT = 4  # of each piece, for so many settings

    def __init__(
        self,
        ratings: DataFrame,
        movies: DataFrame,
        words: DataFrame,
        cores: int,
        item_factors: DataFrame | None = None,
    ) -> None:
        """item_factors: those that were trained already."""
        self.ratings, self.movies, self.words, self.cores, self.trained = ratings, movies, words, cores, item_factors
        self._pieces: dict[str, dict[str, Any]] = {}

    def item_factors(self, config: Settings) -> DataFrame:
        """Return the item_factors table."""
        settings = (config.als, config.likes)
        if self.trained is not None:
            return self.trained
        return self._once("item_factors", settings, lambda: item_factors_table(fit(config, self.ratings)))

    def weighted(self, config: Settings) -> DataFrame:
        """Return the likes, weighted."""
        likes, exponent = likes_table(self.ratings, **vars(config.likes)), config.spectral.user_exponent
        return self._once("weighted", (config.likes, exponent), lambda: weighted_likes(likes, user_exponent=exponent))

    def spectrum(self, config: Settings) -> Spectrum:
        """Return the eigenpairs of the likes."""
        knobs = config.spectral
        settings = (config.als, config.likes, knobs.user_exponent, knobs.shrinkage)
        return self._once(
            "spectrum",
            settings,
            lambda: spectrum(self.item_factors(config), self.weighted(config), self.movies, shrinkage=knobs.shrinkage),
        )

    def content(self) -> Content:
        """Return what is known of the movies besides who likes them."""
        return self._once("content", (), lambda: content(self.movies, movie_words(self.words, self.ratings)))

    def pairs(self, config: Settings) -> DataFrame:
        """Return how often movies are liked together."""
        settings = (config.likes, config.spectral.user_exponent)
        return self._once("pairs", settings, lambda: pairs_table(self.weighted(config)))

    def forget(self) -> None:
        """Give the memory back."""
        for pieces in self._pieces.values():
            while pieces:
                self._drop(pieces)

    def _once(self, name: str, settings: tuple, make: Callable[[], Any]) -> Any:
        pieces = self._pieces.setdefault(name, {})
        key = repr(settings)
        if key not in pieces:
            if len(pieces) == self.KEPT:
                self._drop(pieces)
            piece = make()
            pieces[key] = piece.persist() if isinstance(piece, DataFrame) else piece
        pieces[key] = pieces.pop(key)  # the latest used is last
        return pieces[key]

    @staticmethod
    def _drop(pieces: dict[str, Any]) -> None:
        piece = pieces.pop(next(iter(pieces)))
        if isinstance(piece, DataFrame):
            piece.unpersist()
