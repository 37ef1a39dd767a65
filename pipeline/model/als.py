"""From ratings to item factors: what counts as a like, and ALS."""

from typing import Any

from pyspark.ml.recommendation import ALS, ALSModel
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from pipeline.config import PipelineError, Settings
from pipeline.model.conjugate_gradient import train_conjugate_gradient

FEWEST_BLOCKS = 2  # of users and of movies
INTERACTIONS_PER_BLOCK = 1_000_000


def likes_table(ratings: DataFrame, *, min_rating: float, weight: str, neutral_rating: float) -> DataFrame:
    """Return the ratings that speak for a movie: user_id, movie_id, weight float > 0.

    weight 'constant': min_rating stars or more weigh 1, fewer are left out. 'graded': neutral_rating and below is
    left out, min_rating weighs 1, linear between and beyond.
    """
    if weight == "graded":
        value = (F.col("rating") - neutral_rating) / (min_rating - neutral_rating)
    else:
        value = F.when(F.col("rating") >= min_rating, 1.0).otherwise(0.0)
    return ratings.select("user_id", "movie_id", value.cast("float").alias("weight")).where("weight > 0")


def train_als(
    training: DataFrame,
    *,
    solver: str,
    blocks: int,
    warm_start: bool = False,
    start: DataFrame | None = None,
    **params: Any,
) -> ALSModel:
    """Fit ALS on (user_id, movie_id, third column) and return pyspark.ml's model.

    solver: 'spark' for pyspark.ml's own ALS, 'conjugate_gradient' for train_conjugate_gradient, implicit only, which
    can begin with the item_factors start, if warm_start says so; Spark's always begins at random. params
    are ALS's own parameters, as under als: in the configuration; numUserBlocks and numItemBlocks of None become
    blocks. The input is sorted first: ALS adds up in the order it is given.
    """
    if solver == "conjugate_gradient":
        names = ("rank", "maxIter", "regParam", "alpha", "seed", "blockSize", "coldStartStrategy")
        blocks = max(params["numUserBlocks"] or blocks, params["numItemBlocks"] or blocks)
        start = start if warm_start else None
        return train_conjugate_gradient(training, blocks=blocks, start=start, **{name: params[name] for name in names})
    user, item, value = training.columns
    sizes = {name: params[name] or blocks for name in ("numUserBlocks", "numItemBlocks")}
    als = ALS(userCol=user, itemCol=item, ratingCol=value, **{**params, **sizes})
    return als.fit(training.repartition(blocks, user).sortWithinPartitions(user, item))


def item_factors_table(model: ALSModel) -> DataFrame:
    """Return the model's item factors: movie_id, factors array<float>[rank]; one row per movie trained on."""
    return model.itemFactors.select(F.col("id").alias("movie_id"), F.col("features").alias("factors"))


def fit(config: Settings, ratings: DataFrame, start: DataFrame | None = None) -> ALSModel:
    """Return ALS fitted to the interactions in the ratings; start: item factors to begin with.

    ALS draws its random start block by block and adds up in that order. So blocks follow the data, not the machine:
    the same interactions give the same factors on any number of cores. Raises PipelineError if there are none.
    """
    training = interactions(config, ratings)
    n = training.count()
    if not n:
        raise PipelineError("no rating counts as a like: lower it with --set likes.min_rating=STARS")
    blocks = max(FEWEST_BLOCKS, -(-n // INTERACTIONS_PER_BLOCK))
    return train_als(training, blocks=blocks, start=start, **vars(config.als))


def interactions(config: Settings, ratings: DataFrame) -> DataFrame:
    """Return what ALS learns from: likes as user_id, movie_id, weight or, where it is explicit, stars as rating."""
    if config.als.implicitPrefs:
        return likes_table(ratings, **vars(config.likes))
    return ratings.select("user_id", "movie_id", "rating")
