"""The tables of a release: their columns in order, with type and meaning. The warehouse's public contract.

docs/warehouse.md shows it: .venv/bin/python docs/make_warehouse.py --tables
"""

from typing import NamedTuple


class Column(NamedTuple):
    """One column: its name, its type in Spark SQL's words, and what it holds."""

    name: str
    type: str
    meaning: str


# What jobs/enrich_imdb.py writes, and the movies table takes over.
IMDB = (
    Column("imdb_id", "string", "IMDb's id, e.g. tt0114709; null when not linked"),
    Column("title_type", "string", "IMDb's kind of title, e.g. movie, short, tvSeries; null without IMDb's files"),
    Column("runtime_minutes", "int", "minutes by IMDb; null when not known"),
    Column("imdb_genres", "array<string>", "genres by IMDb; empty when none are known"),
    Column("imdb_rating", "float", "mean of IMDb's votes, 1 to 10; null without any"),
    Column("imdb_votes", "int", "number of IMDb's votes; null without any"),
)
VECTORS = "movie_id int, query array<float>, candidate array<float>"  # between vectors and neighbours; not published

TABLES: dict[str, tuple[Column, ...]] = {
    "movies": (
        Column("movie_id", "int", "key; one row per movie of the catalogue"),
        Column("title", "string", "title to show: article in front, no year"),
        Column("year", "smallint", "year of release, the first one of a range; null when the title has none"),
        Column("genres", "array<string>", "genres; empty when none are listed"),
        IMDB[0],
        Column("tmdb_id", "int", "TMDB's id; null when not linked"),
        Column("n_ratings", "int", "support: number of users with an accepted rating or event"),
        Column("mean_rating", "float", "mean of the accepted ratings in stars; null for events, null without any"),
        Column("raw_title", "string", "title as in the input"),
        Column("item_id", "string", "id as in the input"),
        *IMDB[1:],
    ),
    "item_factors": (
        Column("movie_id", "int", "key; one row per movie that training saw"),
        Column("factors", "array<float>", "raw ALS item factors, als.rank of them"),
    ),
    "neighbours": (
        Column("movie_id", "int", "the movie whose list this is"),
        Column("neighbour_id", "int", "a movie that goes with it; never itself"),
        Column("rank", "smallint", "position in the list by similarity; 1 is best, no holes; ties by neighbour_id"),
        Column(
            "similarity",
            "float",
            "how alike the two are: 1 for a movie and itself, 0 not at all; the same both ways (docs/choices.md)",
        ),
        Column("weight", "float", "what the neighbour counts if the movie is a favourite: recommend adds these up"),
    ),
    "popularity": (
        Column("genre", "string", "genre, or '*' for the whole catalogue"),
        Column("movie_id", "int", "a popular movie of that genre"),
        Column("rank", "smallint", "position in the genre; 1 is best"),
        Column("score", "float", "share of all users who like the movie, 0 to 1"),
    ),
    "catalogue_map": (
        Column("movie_id", "int", "one of the best-known titles; one row per movie on the map, see map.titles"),
        Column("x", "float", "place from left to right, -1 to 1; titles with lists alike are near each other"),
        Column("y", "float", "place from bottom to top, -1 to 1"),
    ),
    "metrics": (
        Column("protocol", "string", "how the model was evaluated"),
        Column("model", "string", "what was evaluated"),
        Column("n_favourites", "int", "favourites given; null: a user's whole history"),
        Column("metric", "string", "name of the measure"),
        Column("k", "int", "length of the list that was measured"),
        Column("value", "double", "mean over users"),
        Column("ci_low", "double", "lower end of the 95 % interval"),
        Column("ci_high", "double", "upper end of the 95 % interval"),
    ),
    "rejected": (
        Column("file", "string", "input file the row came from"),
        Column("line", "bigint", "line in that file, counted from 1; row number for Parquet"),
        Column("reason", "string", "why the row was refused"),
        Column("row", "string", "the row as it was read"),
    ),
}

_NEIGHBOUR = (
    Column("neighbour_id", "int", "a movie on that list"),
    Column("neighbour_title", "string", "its title"),
    Column("neighbour_year", "smallint", "its year of release; null when not known"),
)
_MOVIE = (
    Column("movie_id", "int", "a movie"),
    Column("title", "string", "its title"),
    Column("year", "smallint", "its year of release; null when not known"),
)
# In serving.duckdb alone: the views of pipeline/sql/views, and the names that search_movies reads.
DERIVED: dict[str, tuple[Column, ...]] = {
    "lists": (
        *_MOVIE,
        Column("rank", "smallint", "position of the neighbour on the movie's list; 1 is best"),
        *_NEIGHBOUR,
        Column("similarity", "float", "as in neighbours"),
    ),
    "hubs": (
        *_MOVIE,
        Column("n_ratings", "int", "its number of accepted ratings"),
        Column("on_lists", "bigint", "lists that it is on"),
        Column("at_the_top", "bigint", "lists that it leads"),
        Column("list_length", "bigint", "movies on its own list"),
    ),
    "mutual_pairs": (
        *_MOVIE,
        Column("rank", "smallint", "position of the neighbour on the movie's list"),
        *_NEIGHBOUR,
        Column("rank_back", "smallint", "position of the movie on the neighbour's list"),
        Column("similarity", "float", "as in neighbours"),
    ),
    "popular": (
        Column("genre", "string", "genre, or '*' for the whole catalogue"),
        Column("rank", "smallint", "position in the genre; 1 is best"),
        *_MOVIE,
        Column("score", "float", "as in popularity"),
    ),
    "film_genres": (
        *_MOVIE,
        Column("genre", "string", "one of its genres"),
        Column("n_ratings", "int", "its number of accepted ratings"),
        Column("mean_rating", "float", "their mean; null without any"),
    ),
    "search_names": (
        Column("movie_id", "int", "a movie"),
        Column("words", "string", "one of its names in lower case, without accents and punctuation"),
        Column("key", "string", "the same without an article at either end"),
        Column("year", "smallint", "the movie's year of release; null when not known"),
        Column("n_ratings", "int", "the movie's number of accepted ratings"),
    ),
}

ROWS = {
    "movies": "movie of the catalogue",
    "item_factors": "movie that training saw",
    "neighbours": "place on a movie's list",
    "popularity": "place in a genre",
    "catalogue_map": "title on the map",
    "metrics": "measured value",
    "rejected": "refused input row",
    "lists": "place on a movie's list, both movies by title",
    "hubs": "movie of the catalogue: how often it is listed",
    "mutual_pairs": "two movies on each other's list, the smaller id first",
    "popular": "place in a genre, the movie by title",
    "film_genres": "movie and one of its genres",
    "search_names": "name under which a movie can be found",
}

# By the column's name: one name means one thing in all tables.
UNITS = {
    "year": "calendar year",
    "neighbour_year": "calendar year",
    "n_ratings": "ratings",
    "mean_rating": "stars",
    "rank": "position, from 1",
    "rank_back": "position, from 1",
    "similarity": "none",
    "weight": "none",
    "score": "share of users",
    "x": "none",
    "y": "none",
    "n_favourites": "movies",
    "k": "movies",
    "value": "the metric's",
    "ci_low": "the metric's",
    "ci_high": "the metric's",
    "line": "lines, from 1",
    "on_lists": "lists",
    "at_the_top": "lists",
    "list_length": "movies",
}

_DUCKDB_TYPES = {
    "int": "INTEGER",
    "bigint": "BIGINT",
    "smallint": "SMALLINT",
    "float": "FLOAT",
    "double": "DOUBLE",
    "string": "VARCHAR",
    "array<string>": "VARCHAR[]",
    "array<float>": "FLOAT[]",
}


def names(table: str) -> list[str]:
    """Return the table's or view's column names in order."""
    return [column.name for column in {**TABLES, **DERIVED}[table]]


def spark_schema(table: str) -> str:
    """Return the table's schema as the DDL text that Spark's readers and mapInArrow take."""
    return ", ".join(f"{column.name} {column.type}" for column in TABLES[table])


def duckdb_schema(table: str) -> list[tuple[str, str]]:
    """Return (name, type) of the table's or view's columns as DuckDB describes them."""
    return [(column.name, _DUCKDB_TYPES[column.type]) for column in {**TABLES, **DERIVED}[table]]
