"""The settings: one model per section, with the meaning, the type and the range of each. No defaults, no Spark.

The defaults are in conf/pipeline.yaml, whose comments are these descriptions. docs/reference/settings.md shows both.
"""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator

COLUMNS = ("user_id", "movie_id", "rating", "timestamp", "title", "genres", "year", "imdb_id", "tmdb_id", "tag")
FILES = ("ratings", "movies", "links", "tags")
PATH = "a path: relative to the project's root in a file, to the current directory in --set"


def _number(value: Any) -> Any:
    """Return text as the number it is: YAML 1.1 reads 1e-3 as text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _places(value: Any) -> Any:
    """Return one place as a list of it, and no place as an empty list."""
    if isinstance(value, str):
        value = [value] if value else []
    if not isinstance(value, list) or not all(isinstance(place, str) and place for place in value):
        raise ValueError(f"must be a list of paths, not {value!r}")
    return value


Number = Annotated[float, BeforeValidator(_number)]
Share = Annotated[Number, Field(ge=0, le=1)]
Place = Annotated[str, PATH]


class Section(BaseModel):
    """Settings of one section: each value is checked as it is assigned."""

    model_config = ConfigDict(extra="forbid", strict=True, validate_assignment=True)


class DataSettings(Section):
    dir: Place = Field(
        description="the data set: a folder or URI in a form of MovieLens (.csv, .dat, u.data and u.item, "
        "Parquet), or one "
        "file of interactions"
    )
    more_ratings: Annotated[list[str], BeforeValidator(_places), PATH] = Field(
        description="further ratings, e.g. the visitors' (python -m pipeline feedback): files, patterns such as "
        "new/*.csv, data "
        "sets, or drop folders of .csv files, which may be empty (docs/schedule.md). The latest rating of a user "
        "and movie "
        "counts"
    )
    ids: Literal["integer", "string"] = Field(
        description="integer: 32-bit numbers. string: text of up to 256 characters, published as item_id"
    )
    kind: Literal["ratings", "events"] = Field(
        description="ratings: stars, the latest counts. events: plays or purchases, which are added up "
        "(docs/your-data.md)"
    )
    columns: dict[str, str | list[str]] = Field(
        description="our name of a column: theirs, or several to look for, e.g. {user_id: customer, movie_id: "
        "[sku, id]}"
    )
    files: dict[str, str] = Field(
        description="names of the files in data.dir for ratings, movies, links and tags, e.g. {ratings: orders.csv}"
    )
    titles: Literal["movielens", "plain"] = Field(
        description='movielens: the year is cut off the end, and ", The" comes to the front. plain: titles stay '
        "as they are"
    )
    genre_separator: str = Field(description="the text between two genres")
    imdb: Place = Field(
        description='the table that jobs/enrich_imdb.py makes of IMDb\'s files (docs/imdb.md). "": imdb.parquet '
        "in data.dir, if any"
    )
    min_rating: Number = Field(description="stars; a rating below is rejected")
    max_rating: Number = Field(description="stars; a rating above is rejected")
    max_rejected_share: Share = Field(
        description="share of the ratings that may be rejected before the run stops. Superseded ratings do not count"
    )

    @field_validator("columns", "files", mode="before")
    @classmethod
    def _known_names(cls, value: Any, info: Any) -> Any:
        known = COLUMNS if info.field_name == "columns" else FILES
        if not isinstance(value, dict):
            raise ValueError(f"must be dict, not {value!r}")
        for name, theirs in value.items():
            if name not in known:
                raise ValueError(f"has no {name!r}; it maps {', '.join(known)}")
            texts = theirs if isinstance(theirs, list) and info.field_name == "columns" else [theirs]
            if not texts or not all(isinstance(text, str) and text for text in texts):
                raise ValueError(f"must give a name for {name}, not {theirs!r}")
        return value


class WarehouseSettings(Section):
    dir: Place = Field(description="the folder of the releases; the driver and every executor must see it")
    keep: int = Field(ge=0, le=1_000_000, description="newest releases to keep, besides the live one. 0: all")


class GatesSettings(Section):
    min_coverage: Share = Field(
        description="share of the titles with min_support ratings that must appear on at least one list"
    )
    max_hub_share: Share = Field(
        description="share of all places on lists that the most listed hundredth of the titles may take"
    )
    max_row_loss: Share = Field(
        description="share of movies, ratings and lists that may be lost, compared with the live release of the "
        "same data"
    )
    max_quality_loss: Share = Field(
        description="share by which nDCG and recall may fall, compared with a live release that was evaluated alike"
    )
    skip: list[str] = Field(description="gates to leave out, of coverage, hubs, live_rows, live_quality")


class OperationsSettings(Section):
    prometheus_file: Place = Field(
        description="file for the node exporter's textfile collector; its name ends in .prom "
        '(docs/operations.md). "": none'
    )


class SessionsSettings(Section):
    path: Place = Field(
        description="the database of visitors' lists and thumbs (docs/privacy.md), in a local folder of its own. "
        '"": nothing is kept'
    )


class LikesSettings(Section):
    min_rating: Number = Field(description="stars of a like; every event is a like (docs/choices.md has the figures)")
    weight: Literal["constant", "graded"] = Field(
        description="constant: a like weighs 1, every other rating 0. graded: see neutral_rating"
    )
    neutral_rating: Number = Field(
        description="graded: a rating of these stars or fewer weighs 0, min_rating weighs 1, linear between and beyond"
    )


class AlsSettings(Section):
    """The parameters of pyspark.ml.recommendation.ALS under Spark's own names, besides solver and warm_start."""

    solver: Literal["spark", "conjugate_gradient"] = Field(
        description="spark: pyspark.ml's ALS. conjugate_gradient: faster on millions of likes (docs/training.md)"
    )
    warm_start: bool = Field(
        description="conjugate_gradient: begin with the live release's factors, if data.dir and rank are the same "
        "(docs/training.md)"
    )
    rank: int = Field(ge=1, le=4096, description="length of the factor vectors")
    maxIter: int = Field(ge=1, le=1000, description="iterations")
    regParam: Number = Field(description="regularisation, times the number of ratings of the user or movie")
    implicitPrefs: bool = Field(
        description="true: train on likes with confidence. false: predict the stars of all ratings"
    )
    alpha: Number = Field(description="implicit: the confidence of a like is 1 + alpha * its weight")
    nonnegative: bool = Field(description="solver spark: no factor below 0")
    numUserBlocks: int | None = Field(
        description="null: one per million likes, 2 or more. conjugate_gradient takes the larger of the two"
    )
    numItemBlocks: int | None = Field(description="see numUserBlocks")
    blockSize: int = Field(description="of the saved model: rows per block when Spark predicts")
    checkpointInterval: int = Field(
        description="solver spark: iterations between checkpoints, if the cluster sets a checkpoint directory"
    )
    intermediateStorageLevel: str = Field(description="solver spark: Spark's storage level of its blocks")
    finalStorageLevel: str = Field(description="solver spark: Spark's storage level of the factors")
    coldStartStrategy: str = Field(description="of the saved model: nan or drop")
    seed: int = Field(description="of the random first factors")


class NeighboursSettings(Section):
    k: int = Field(ge=1, le=32767, description="length of each list")
    similarity: Literal["spectral", "whitened", "cosine"] = Field(
        description="the measure of likeness (docs/choices.md)"
    )
    whitening: Number = Field(
        ge=1e-6,
        le=1e6,
        description="whitened: ridge added to the factors' covariance, in units of its mean eigenvalue",
    )
    min_support: int = Field(
        ge=0, le=2**31 - 1, description="ratings that a title needs to be recommended; any title can be looked up"
    )
    query_block: int = Field(
        ge=1, le=2**20, description="titles that a task answers at once: memory per task grows with it"
    )
    item_block: int = Field(ge=1, le=2**20, description="titles compared at once: memory per task grows with it")
    piece_mib: int = Field(
        ge=1,
        le=2**20,
        description="MiB of candidates' vectors that an executor holds at once; more are cut in pieces, one per task",
    )


class SpectralSettings(Section):
    """How factors and likes become the vectors of similarity: spectral."""

    shrinkage: Number = Field(ge=1e-6, le=1e9, description="likes without any taste that every title is credited with")
    damping: Number = Field(
        ge=1e-6, le=1e6, description="share of the common taste that is kept, in units of its strength"
    )
    user_exponent: Share = Field(description="0: every like counts the same. 1: every user does")
    popularity_exponent: Number = Field(
        ge=-2, le=2, description="below 0: better-known titles need more in common to be recommended"
    )
    residual: Share = Field(description="weight of the co-occurrences beyond the factors; above 0 they are counted")
    content: Number = Field(ge=0, le=1e6, description="likes' worth of evidence that the same genres stand for")
    year: Number = Field(ge=0, le=1e6, description="weight of the same year, in units of the same genres")
    words: Number = Field(
        ge=0, le=1e6, description="weight of the same tags and IMDb's words, in units of the same genres"
    )
    agreement: Share = Field(description="share of a similarity that is lost if two titles have no genre in common")


class PopularitySettings(Section):
    titles_per_genre: int = Field(ge=1, le=32767, description="length of each genre's fallback list")
    weight: Number = Field(
        ge=0,
        le=1e6,
        description="what a score gains if everybody likes the title and it has the favourites' genres. 0: nothing",
    )


class MapSettings(Section):
    titles: int = Field(
        ge=0,
        le=10_000,
        description="best-known titles on the map of the page Explore; the driver needs a second per thousand. 0: "
        "no map",
    )


class EvaluationSettings(Section):
    enabled: bool = Field(description="false: the main job does not evaluate")
    protocol: Literal["all", "strangers", "histories"] = Field(
        description="strangers: new users. histories: users of whom a fifth is hidden. all: both"
    )
    test: Place = Field(
        description='histories: a file of interactions to test on; data.dir is then the training part. "": none'
    )
    like_rating: Number = Field(description="stars from which a held-out rating counts as a like")
    folds: int = Field(ge=2, le=100, description="strangers: each user is held out once; training runs once per fold")
    draws: int = Field(ge=1, le=100, description="strangers: random choices of favourites per user")
    min_targets: int = Field(ge=1, le=10_000, description="strangers: likes that a user needs beyond the favourites")
    max_users: int = Field(
        ge=1, le=1_000_000, description="users asked per fold, chosen at random; a test file's users are all asked"
    )
    max_compared_ratings: int = Field(
        description="with more ratings, no baseline is measured: baselines run in one process"
    )
    variants: bool = Field(
        description="true: also measure the cosine of the same factors, lists without content, and another seed"
    )
    seed: int = Field(description="of folds, draws and users")


class PageSettings(Section):
    item: str = Field(description="one thing of the catalogue, in the page's sentences")
    items: str = Field(description="several of them")
    credit: str = Field(description="the line below the lists")
    sql: bool = Field(description="true: the page has a place for analysts' queries (docs/sql-page.md)")


class SqlSettings(Section):
    """The bounds of one query of `python -m pipeline sql`, or of the page."""

    seconds: int = Field(ge=1, le=3600, description="time of one query of python -m pipeline sql, or of the page")
    rows: int = Field(ge=1, le=1_000_000, description="rows shown; a longer answer says so")
    memory_mb: int = Field(ge=64, le=2**20, description="MB for DuckDB; on Linux its process ends at twice that")


class ExampleSettings(Section):
    favourites: list[str] = Field(description="titles to recommend for at the end of a run")


class Settings(BaseModel):
    """All settings, as config.section.key."""

    model_config = ConfigDict(extra="forbid", strict=True)

    data: DataSettings
    warehouse: WarehouseSettings
    gates: GatesSettings
    operations: OperationsSettings
    sessions: SessionsSettings
    likes: LikesSettings
    als: AlsSettings
    neighbours: NeighboursSettings
    spectral: SpectralSettings
    popularity: PopularitySettings
    map: MapSettings
    evaluation: EvaluationSettings
    page: PageSettings
    sql: SqlSettings
    example: ExampleSettings
