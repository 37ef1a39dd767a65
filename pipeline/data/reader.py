"""Reading a MovieLens-shaped folder, in any of its forms, or a file of interactions, into rows of strings that know
their place in the file."""

import collections
import csv
import functools
import re
import urllib.parse
from typing import NamedTuple

from py4j.java_gateway import JavaObject
from py4j.protocol import Py4JJavaError
from pyspark.errors import AnalysisException
from pyspark.sql import Column, DataFrame, SparkSession
from pyspark.sql import functions as F

from pipeline import schemas
from pipeline.config import PipelineError
from pipeline.settings import DataSettings

# The nineteen genre flags that close a line of ml-100k's u.item, in the order of its u.genre.
U_ITEM_GENRES = [
    "unknown", "Action", "Adventure", "Animation", "Children's", "Comedy", "Crime", "Documentary", "Drama",
    "Fantasy", "Film-Noir", "Horror", "Musical", "Mystery", "Romance", "Sci-Fi", "Thriller", "War", "Western",
]  # fmt: skip
PLACE = ["file", "block", "position", "row"]


class Layout(NamedTuple):
    """How one form of MovieLens lays out a table: file name, separator, quoting, and columns (None: see header)."""

    file: str
    separator: str
    quote: str
    columns: list[str] | None


class Rows(NamedTuple):
    """A table as it was read.

    frame: the fields as strings, 'malformed' (true where the number of fields is wrong), and their place:
    file, block and position (see _numbered), row (the text of the row).
    blocks: number of lines and first position of every block of the file; None for Parquet.
    """

    frame: DataFrame
    blocks: DataFrame | None


class Mapping(NamedTuple):
    """What an input that is not MovieLens' calls its columns and files: data.columns and data.files.

    columns: names of the input for a column of ours, in order of preference. stars: whether ratings need a rating.
    """

    columns: dict[str, list[str]]
    files: dict[str, str]
    stars: bool = True


MOVIELENS = Mapping({}, {})
RATINGS = ["user_id", "movie_id", "rating", "timestamp"]
MOVIES = ["movie_id", "title", "genres", "year"]
LINKS = ["movie_id", "imdb_id", "tmdb_id"]
TAGS = ["user_id", "movie_id", "tag"]
IMDB_TITLES = ["imdb_id", "title_type", "runtime_minutes", "genres"]
IMDB_RATINGS = ["imdb_id", "average_rating", "num_votes"]
LAYOUTS = {
    "ratings": [
        Layout("ratings.csv", ",", '"', None),
        Layout("ratings.dat", "::", "", RATINGS),
        Layout("u.data", "\t", "", RATINGS),
    ],
    "movies": [
        Layout("movies.csv", ",", '"', None),
        Layout("movies.dat", "::", "", MOVIES[:3]),
        Layout("u.item", "|", "", ["movie_id", "title", "released", "video", "imdb_url", *U_ITEM_GENRES]),
    ],
    "links": [Layout("links.csv", ",", '"', None)],
    "tags": [Layout("tags.csv", ",", '"', None), Layout("tags.dat", "::", "", [*TAGS, "timestamp"])],
    **{
        table: [Layout(f"{file}.tsv{ending}", "\t", "", None) for ending in (".gz", "")]
        for table, file in (("imdb_titles", "title.basics"), ("imdb_ratings", "title.ratings"))
    },
}
# What a file of interactions may call its columns, and how it ends: the form of many published data sets and splits.
INTERACTION_FILE = re.compile(r"\.(txt|csv|tsv|inter)$")
TEXT_FILE = re.compile(r"\.(txt|csv|tsv|inter|dat)(\.gz|\.bz2)?$")  # of data.files; what ends otherwise is Parquet
ALIASES = {"item_id": "movie_id", "rated_at": "timestamp", "tconst": "imdb_id"}
REQUIRED = {
    "ratings": ["user_id", "movie_id", "rating"],
    "movies": ["movie_id", "title"],
    "links": LINKS[:1],
    "tags": TAGS,
    "imdb_titles": IMDB_TITLES,
    "imdb_ratings": IMDB_RATINGS,
    "interactions": RATINGS[:2],
}


def mapping(data: DataSettings) -> Mapping:
    """Return the Mapping that the configuration's section data: asks for."""
    columns = {name: theirs if isinstance(theirs, list) else [theirs] for name, theirs in data.columns.items()}
    return Mapping(columns, data.files, stars=data.kind == "ratings")


def read_ratings(spark: SparkSession, place: str, mapping: Mapping = MOVIELENS) -> Rows:
    """Return the ratings of a folder or of a file of interactions: user_id, movie_id, rating, timestamp, all strings.

    A file of interactions (.txt, .csv, .tsv, .inter) has a header that names its columns; or, without one, user,
    item and, perhaps, rating and timestamp, separated by commas or tabs; or, separated by blanks, a user and then
    all of that user's items. Where it has no ratings, they are 1.
    Raises PipelineError when the file is missing, empty or lacks a column.
    """
    if is_interaction_file(place):
        return _read_interactions(spark, place, mapping)
    return _read_table(spark, place, "ratings", RATINGS, mapping)


def read_more_ratings(spark: SparkSession, place: str, mapping: Mapping = MOVIELENS) -> Rows | None:
    """Return further ratings, as read_ratings does, from a file, a pattern of files, a data set, or a folder that files
    are dropped in, of which every .csv is read; None where the pattern or the folder has none.

    Columns may have our names as well as those of the mapping. Stars are needed here, unless the mapping has none:
    beside others that have stars, a rating of 1 would be a dislike. A folder is a data set where it has movies, or
    ratings in another form than .csv. Names that begin with a dot or an underscore are passed over.
    Raises PipelineError when the file or the folder is missing, or when a file is empty or lacks a column.
    """
    place = place.rstrip("/")
    if not _found(spark, place) and not re.search(r"[*?{\[]", place):
        raise PipelineError(
            f"{place}: no ratings here; give --set data.more_ratings=FILE.csv, or make the folder they are dropped in"
        )
    both = {name: [*theirs, name] for name, theirs in mapping.columns.items()}
    mapping = mapping._replace(columns=both, files={})
    if not is_interaction_file(place):
        names = [layout.file for layout in LAYOUTS["movies"] + LAYOUTS["ratings"][1:]]
        names += ["movies.parquet", "movies", "ratings.parquet", "ratings"]
        if any(_found(spark, f"{place}/{name}") for name in names):
            return _read_table(spark, place, "ratings", RATINGS, mapping)
        place += "/*.csv"
    found = [file for file in _found(spark, place) if not file.getPath().getName().startswith((".", "_"))]
    for file in found:
        if file.isFile() and not file.getLen():
            raise PipelineError(f"{file.getPath().toString()}: the file is empty; remove it, or write it again")
    # Files with the same header, or with none and the same number of fields, are read as one table.
    alike = collections.defaultdict(list)
    for path, first in _first_lines(spark, [file.getPath().toString() for file in found]):
        form = re.sub(r"[-\d.]", "", first) if re.fullmatch(r"[-\d., \t]*", first) else first
        alike[form].append((path, first))
    tables = [([path for path, _ in files], files[0][1]) for files in alike.values()]
    table = "ratings" if mapping.stars else "interactions"
    return together(*(_read_interactions(spark, paths, mapping, table, first) for paths, first in tables))


def together(*parts: Rows | None) -> Rows | None:
    """Return the rows of several readings of the same kind, each of which keeps its place; None without any."""
    frames = [part.frame for part in parts if part is not None]
    blocks = [part.blocks for part in parts if part is not None and part.blocks is not None]
    united = [functools.reduce(DataFrame.unionByName, of) if of else None for of in (frames, blocks)]
    return Rows(*united) if frames else None


def files(rows: Rows | None) -> list[str]:
    """Return the files that rows came from, as their place names them. Runs a Spark job over the rows."""
    return [] if rows is None else [row.file for row in rows.frame.select("file").distinct().collect()]


def read_movies(spark: SparkSession, place: str, mapping: Mapping = MOVIELENS) -> Rows:
    """Return the folder's movies: movie_id, title, genres ('A|B'), year, all strings. Errors as read_ratings.

    Of a file of interactions, or where the mapping names the file of ratings and no movies are there, the ids that
    occur in it, without title, genres and year.
    """
    if not is_interaction_file(place):
        alone = "ratings" in mapping.files
        read = _find_table if alone else _read_table
        rows = read(spark, place, "movies", MOVIES, mapping)
        if rows is not None:
            return rows
    frame = read_ratings(spark, place, mapping).frame.where(~F.col("malformed"))
    firsts = frame.groupBy("movie_id").agg(*[F.min_by(name, "position").alias(name) for name in PLACE])
    return Rows(_with_columns(firsts, MOVIES, F.lit(False)), None)


def read_links(spark: SparkSession, place: str, mapping: Mapping = MOVIELENS) -> Rows | None:
    """Return the folder's links: movie_id, imdb_id, tmdb_id, all strings; None when it has none."""
    return None if is_interaction_file(place) else _find_table(spark, place, "links", LINKS, mapping)


def read_tags(spark: SparkSession, place: str, mapping: Mapping = MOVIELENS) -> Rows | None:
    """Return the folder's tags: user_id, movie_id, tag, all strings; None when it has none."""
    return None if is_interaction_file(place) else _find_table(spark, place, "tags", TAGS, mapping)


def read_imdb_files(spark: SparkSession, folder: str) -> tuple[Rows, Rows]:
    """Return IMDb's title.basics.tsv.gz and title.ratings.tsv.gz as they were downloaded, or unpacked: imdb_id,
    title_type, runtime_minutes, genres ('A,B'), and imdb_id, average_rating, num_votes; all strings, \\N for nothing.

    Raises PipelineError when one is missing, empty or lacks a column.
    """

    def read(table: str, columns: list[str]) -> Rows:
        rows = _find_table(spark, folder, table, columns, MOVIELENS)
        if rows is None:
            raise PipelineError(
                f"{folder}: no {LAYOUTS[table][0].file} here; download it from IMDb (docs/imdb.md says "
                "what may be done with it), or give --imdb DIR"
            )
        return rows

    return read("imdb_titles", IMDB_TITLES), read("imdb_ratings", IMDB_RATINGS)


def imdb_place(directory: str, given: str) -> str:
    """Return where the imdb table is: as data.imdb says or, where that is '', imdb.parquet in data.dir."""
    return given or f"{directory.rstrip('/')}/imdb.parquet"


def read_imdb(spark: SparkSession, directory: str, given: str) -> Rows | None:
    """Return the imdb table that jobs/enrich_imdb.py wrote, with the types of schemas.IMDB and without places; None
    where data.imdb names none and data.dir has none. Raises PipelineError for what is no such table."""
    place = imdb_place(directory, given)
    fix = f"make it with ./spark-submit.sh jobs/enrich_imdb.py --set data.dir={directory}"
    if not _found(spark, place):
        if given:
            raise PipelineError(f"{place}: there is no such table; {fix} --set data.imdb={place}")
        return None
    try:
        frame = spark.read.parquet(place)
    except (AnalysisException, Py4JJavaError) as error:
        raise PipelineError(f"{place}: this is not a Parquet table that Spark can read; {fix}") from error
    if frame.dtypes != [(column.name, column.type) for column in schemas.IMDB]:
        raise PipelineError(f"{place}: this is no table of the form that jobs/enrich_imdb.py writes; {fix}")
    return Rows(frame.dropDuplicates(["imdb_id"]), None)


def is_interaction_file(place: str) -> bool:
    """Tell a file of interactions from a MovieLens-shaped folder, by its name."""
    return INTERACTION_FILE.search(place) is not None


def _read_interactions(
    spark: SparkSession,
    path: str | list[str],
    mapping: Mapping,
    table: str = "interactions",
    first: str | None = None,
) -> Rows:
    """Return the rows of a file of interactions, or of several whose first line, first, is of the same form."""
    if first is None:
        first = _first_line(spark, path if isinstance(path, str) else path[0])
    if first is None:
        raise PipelineError(f"{path}: there is no such file; give the path of a file of interactions")
    separator = _separator(first)
    fields = first.split(separator)
    if separator == " " and table == "interactions" and not mapping.columns:
        lines, blocks = _lines(spark, path)
        items = F.split(F.trim("row"), " +")
        rest = F.slice(items, 2, F.greatest(F.size(items) - 1, F.lit(0)))
        each = lines.where(F.trim("row") != "").select(
            items[0].alias("user_id"), F.explode(rest).alias("movie_id"), *PLACE
        )
        rows = Rows(_with_columns(each, RATINGS, F.lit(False)), blocks)
    else:
        has_header = separator == " " or not all(re.fullmatch(r"[-\d.]*", field) for field in fields)
        layout = Layout("", separator, '"', None if has_header else RATINGS[: len(fields)])
        rows = _read_text(spark, path, layout, table, RATINGS, first, mapping)
    if table == "ratings":
        return rows
    return rows._replace(frame=rows.frame.withColumn("rating", F.coalesce("rating", F.lit("1"))))


def _read_table(spark: SparkSession, folder: str, table: str, columns: list[str], mapping: Mapping) -> Rows:
    rows = _find_table(spark, folder, table, columns, mapping)
    if rows is None:
        files = ", ".join([*(layout.file for layout in LAYOUTS[table]), f"{table}.parquet"])
        raise PipelineError(
            f"{folder.rstrip('/')}: no {table} here (looked for {files}); "
            "get a data set with ./spark-submit.sh jobs/download_movielens.py latest-small, or give --set data.dir=DIR"
        )
    return rows


def _find_table(spark: SparkSession, folder: str, table: str, columns: list[str], mapping: Mapping) -> Rows | None:
    folder = folder.rstrip("/")
    if file := mapping.files.get(table):
        rows = _read_named(spark, f"{folder}/{file}", table, columns, mapping)
        if rows is None:
            raise PipelineError(f"{folder}/{file}: there is no such file; data.files names it for the {table}")
        return rows
    for layout in LAYOUTS[table]:
        path = f"{folder}/{layout.file}"
        first = _first_line(spark, path)
        if first is not None:
            if layout.quote:
                layout = layout._replace(separator=_separator(first))
            return _read_text(spark, path, layout, table, columns, first, mapping)
    for name in (f"{table}.parquet", table):
        rows = _read_parquet(spark, f"{folder}/{name}", table, columns, mapping)
        if rows is not None:
            return rows
    return None


def _read_named(spark: SparkSession, path: str, table: str, columns: list[str], mapping: Mapping) -> Rows | None:
    """Return a table from the file that data.files names; None when it is not there."""
    if not TEXT_FILE.search(path):
        return _read_parquet(spark, path, table, columns, mapping)
    first = _first_line(spark, path)
    if first is None:
        return None
    return _read_text(spark, path, Layout(path, _separator(first), '"', None), table, columns, first, mapping)


def _separator(header: str) -> str:
    """Return what separates the fields of a line."""
    best = max("\t,;", key=header.count)
    return best if best in header else " "


def _first_line(spark: SparkSession, path: str) -> str | None:
    """Return the file's first line, '' when it is empty, None when there is no such file."""
    if not _found(spark, path):
        return None
    first = spark.read.text(path).head()
    return first.value if first else ""


def _first_lines(spark: SparkSession, paths: list[str]) -> list[tuple[str, str]]:
    """Return files, sorted, each as a path that Spark reads literally, and its first line; in one pass over all."""
    if not paths:
        return []
    lines = spark.read.text([_as_it_stands(path) for path in paths]).select(
        F.col("_metadata.file_path").alias("file"),
        F.struct("_metadata.file_block_start", F.monotonically_increasing_id()).alias("place"),
        F.col("value").alias("line"),
    )
    firsts = lines.groupBy("file").agg(F.min_by("line", "place").alias("first")).collect()
    return sorted((_as_it_stands(urllib.parse.unquote(row.file)), row.first) for row in firsts)


def _as_it_stands(path: str) -> str:
    return re.sub(r"([*?{}\[\]\\])", r"\\\1", path)


def _found(spark: SparkSession, path: str) -> list[JavaObject]:
    """Ask the file system: Spark's reader takes its time over each of the names that a table may have."""
    try:
        file = spark._jvm.org.apache.hadoop.fs.Path(path)
        return list(file.getFileSystem(spark._jsc.hadoopConfiguration()).globStatus(file) or [])
    except Py4JJavaError as error:
        raise PipelineError(f"{path}: the file system does not answer ({error.java_exception.getMessage()})") from error


def _read_text(
    spark: SparkSession,
    path: str | list[str],
    layout: Layout,
    table: str,
    columns: list[str],
    first: str,
    mapping: Mapping,
) -> Rows:
    where = path if isinstance(path, str) else ", ".join(path[:3])
    if not first.strip():
        raise PipelineError(f"{where}: the file is empty, or begins with an empty line")
    fields = layout.columns or _fields(first, layout, columns, mapping)
    _require(fields, table, where, columns, mapping)
    if layout.columns is None:  # columns that are not ours may have any name, and a name may repeat
        fields = [name if name in columns else f"other {place}" for place, name in enumerate(fields)]
    lines, blocks = _lines(spark, path)
    schema = ", ".join(f"`{name}` string" for name in [*fields, "malformed"])
    options = {
        "sep": layout.separator, "quote": layout.quote, "escape": '"', "mode": "PERMISSIVE",
        "columnNameOfCorruptRecord": "malformed",
    }  # fmt: skip
    data = lines.where(F.trim("row") != "")
    if layout.columns is None:
        data = data.where(F.col("row") != first)
    parsed = data.select(F.from_csv("row", schema, options).alias("field"), *PLACE).select("field.*", *PLACE)
    if "Film-Noir" in fields:
        flags = [F.when(F.col(f"`{name}`") == "1", name) for name in U_ITEM_GENRES[1:]]
        parsed = parsed.withColumn("genres", F.concat_ws("|", *flags))
    return Rows(_with_columns(parsed, columns, F.col("malformed").isNotNull()), blocks)


def _lines(spark: SparkSession, path: str | list[str]) -> tuple[DataFrame, DataFrame]:
    """Return the lines of text files with their place, and the files' blocks."""
    lines = spark.read.text(path).select(
        F.col("_metadata.file_path").alias("file"),
        F.col("_metadata.file_block_start").alias("block"),
        F.monotonically_increasing_id().alias("position"),
        # The older sets are Latin-1; a line that is no UTF-8 is taken for that.
        F.expr("if(is_valid_utf8(value), value, decode(cast(value as binary), 'ISO-8859-1'))").alias("row"),
    )
    blocks = lines.groupBy("file", "block").agg(F.count("*").alias("n_lines"), F.min("position").alias("first"))
    return lines, blocks


def _read_parquet(spark: SparkSession, path: str, table: str, columns: list[str], mapping: Mapping) -> Rows | None:
    if not _found(spark, path):
        return None
    try:
        read = spark.read.parquet(path)
    except AnalysisException as error:
        raise PipelineError(f"{path}: this is not a Parquet table that Spark can read") from error
    fields = _named(read.columns, columns, mapping)
    _require(fields, table, path, columns, mapping)
    types = dict(read.dtypes)
    strings = []
    for field, name in zip(fields, read.columns, strict=True):
        if field not in columns:
            continue
        value = _column(name)
        if types[name].startswith("timestamp"):
            value = F.unix_timestamp(value)
        elif types[name].startswith("array"):
            value = F.array_join(value, "|")
        strings.append(value.cast("string").alias(field))
    place = read.metadataColumn("_metadata")  # a column of the file may have that name
    rows = read.select(
        *strings,
        place["file_path"].alias("file"),
        F.lit(0).cast("bigint").alias("block"),
        place["row_index"].alias("position"),
        F.to_json(F.struct(*[_column(name) for name in read.columns])).alias("row"),
    )
    return Rows(_with_columns(rows, columns, F.lit(False)), None)


def _column(name: str) -> Column:
    """Return the column of this name, whatever characters it has."""
    return F.col(f"`{name.replace('`', '``')}`")


def _with_columns(rows: DataFrame, columns: list[str], malformed: Column) -> DataFrame:
    missing = {name: F.lit(None).cast("string") for name in columns if name not in rows.columns}
    return rows.withColumns({**missing, "malformed": malformed}).select(*columns, "malformed", *PLACE)


def _require(fields: list[str], table: str, path: str, columns: list[str], mapping: Mapping) -> None:
    needed = REQUIRED["interactions" if table == "ratings" and not mapping.stars else table]
    if table in mapping.files:
        needed = [name for name in needed if name != "title"]
    # What is mapped is wanted, even where it might be missing: a slip in data.columns would else go unnoticed.
    mapped = [name for name in columns if name in mapping.columns and name not in mapping.columns[name]]
    if twice := [name for name in columns if fields.count(name) > 1]:
        raise PipelineError(f"{path}: the header has {twice[0]} twice; give one of the two columns another name")
    missing = [name for name in dict.fromkeys([*needed, *mapped]) if name not in fields]
    if missing:
        said = [f"{name} is {' or '.join(mapping.columns[name])}" for name in missing if name in mapping.columns]
        note = f" (data.columns says that {', '.join(said)})" if said else ""
        has = ", ".join(fields)
        raise PipelineError(f"{path}: the header has no {' and no '.join(missing)} column{note}; it has {has}")


def _fields(header: str, layout: Layout, columns: list[str], mapping: Mapping) -> list[str]:
    """Return our names for the fields of a header."""
    if layout.quote:
        return _named(next(csv.reader([header], delimiter=layout.separator)), columns, mapping)
    return _named(header.split(layout.separator), columns, mapping)


def _named(names: list[str], columns: list[str], mapping: Mapping) -> list[str]:
    """Return our names for the columns of a table: those of the mapping, else the same names, our way of writing."""
    names = [name.strip().strip('"') for name in names]
    ours = [_snake_case(name) for name in names]
    for wanted in columns:
        if wanted in mapping.columns:
            candidates = (
                place for their in mapping.columns[wanted] for place, name in enumerate(names)
                if their in (name, _snake_case(name))
            )  # fmt: skip
            place = next(candidates, None)
            # What has our name already is something else.
            ours = [f"their {name}" if name == wanted else name for name in ours]
            if place is not None:
                ours[place] = wanted
    return ours


def _snake_case(name: str) -> str:
    """Return userId, user_id, "userId" or user_id:token as user_id; other names of a column as this project's."""
    name = "".join(f"_{c.lower()}" if c.isupper() else c for c in name.strip().strip('"').split(":")[0]).lstrip("_")
    return ALIASES.get(name, name)
