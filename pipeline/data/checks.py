"""From rows as they were read to tables: checked, cleaned, and what is refused with the reason and its place."""

import functools

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from pipeline import schemas
from pipeline.config import PipelineError
from pipeline.data.reader import PLACE, Rows

# Articles that MovieLens moves behind the title ("Matrix, The"), in the languages of its catalogue.
ARTICLES = "The|A|An|Le|La|Les|El|Los|Las|Il|Lo|Gli|I|Der|Die|Das|Den|Det|De|Het|Een|Ein|Eine|Os|As|Un|Une|Una|Uno"
MAX_WORD = 100  # characters of a tag
MAX_ID = 256  # characters of an id that is text
MAX_COUNT = 1e9  # plays or pieces in one row
USER_BUCKETS = 4096
REPLACED = "a later rating by the same user exists"
SHORT, LONG = 45, 150  # minutes below and from which a title is called so
LAST_SECOND = 4_102_444_800  # 2100-01-01: a later timestamp is in milliseconds, or wrong


def numbered_items(movies: Rows, kept: DataFrame | None, above: int) -> DataFrame:
    """Return a number for every id of the catalogue that is text: item_id string, movie_id int.

    kept: item_id, movie_id of earlier releases, which are among the rows and stay as they are; None without any. above:
    the largest number that was ever given; new ids get those after it, in order of item_id.
    """
    texts = movies.frame.where(~F.col("malformed")).select(_text_id("movie_id").alias("item_id"))
    new = texts.where("item_id is not null").distinct()
    if kept is not None:
        new = new.join(kept, "item_id", how="left_anti")
    # One task sorts the new ids: as many as there are titles, not ratings.
    place = F.row_number().over(Window.orderBy("item_id"))
    numbered = new.select("item_id", (place + above).cast("int").alias("movie_id"))
    return numbered if kept is None else kept.select("item_id", "movie_id").unionByName(numbered)


def numbered_users(*sources: Rows) -> DataFrame:
    """Return a number for every user whose id is text: user string, user_id int from 0 up, with few holes.

    The same users get the same numbers. They are not published. Users are numbered in USER_BUCKETS rows side by side.
    """
    texts = [rows.frame.where(~F.col("malformed")).select(_text_id("user_id").alias("user")) for rows in sources]
    users = functools.reduce(DataFrame.unionByName, texts).where("user is not null").distinct()
    users = users.withColumn("bucket", F.pmod(F.xxhash64("user"), F.lit(USER_BUCKETS)))
    place = F.row_number().over(Window.partitionBy("bucket").orderBy("user")) - 1
    return users.select("user", (place * USER_BUCKETS + F.col("bucket")).cast("int").alias("user_id"))


def checked_movies(
    movies: Rows, items: DataFrame | None = None, *, plain_titles: bool = False, genre_separator: str = "|"
) -> DataFrame:
    """Check and clean the catalogue; a row per row read.

    items: numbered_items where ids are text, None where they are 32-bit integers.
    movie_id int, title string, year smallint, genres array<string>, raw_title string, item_id string, reason string
    (null: accepted), then the row's place. Titles: the year leaves, the article comes to the front, unless they are
    plain; without a title 'Movie <id>', or the id that is text. The year is the title's, else the column's.
    Refused: too few or too many fields, an unfit id, a repeated id.
    """
    pattern = rf"\Q{genre_separator}\E"
    genres = F.filter(
        F.transform(F.split(F.coalesce("genres", F.lit("")), pattern), lambda genre: F.trim(genre)),
        lambda genre: (genre != "") & (genre != "(no genres listed)"),
    )
    unnamed = F.concat(F.lit("Movie "), F.trim("movie_id")) if items is None else _text_id("movie_id")
    raw_title = F.coalesce(F.nullif(F.trim("title"), F.lit("")), unnamed)
    year = F.nullif(F.expr("try_cast(year as smallint)"), F.lit(0))  # 0 means none
    parsed = movies.frame.select(
        F.expr("try_cast(movie_id as int)").alias("movie_id"),
        (raw_title if plain_titles else display_title(raw_title)).alias("title"),
        (year if plain_titles else F.coalesce(release_year(raw_title), year)).alias("year"),
        F.array_distinct(genres).alias("genres"),
        raw_title.alias("raw_title"),
        _text_id("movie_id").alias("item_id"),
        "malformed",
        *PLACE,
    )
    unfit = "movie id is not a 32-bit integer"
    if items is None:
        parsed = parsed.withColumn("item_id", F.col("movie_id").cast("string"))
    else:
        parsed = parsed.drop("movie_id").join(items, "item_id", how="left")
        unfit = f"movie id is empty or longer than {MAX_ID} characters"
    first = F.row_number().over(Window.partitionBy("movie_id").orderBy("malformed", "file", "position")) == 1
    reason = (
        F.when(F.col("malformed"), "wrong number of fields")
        .when(F.col("movie_id").isNull(), unfit)
        .when(~first, "movie id is here a second time")
    )
    columns = ["movie_id", "title", "year", "genres", "raw_title", "item_id"]
    return parsed.select(*columns, reason.alias("reason"), *PLACE)


def checked_ratings(
    ratings: Rows, known: DataFrame, users: DataFrame | None = None, *, min_rating: float, max_rating: float,
    events: bool = False,
) -> DataFrame:  # fmt: skip
    """Check the ratings against the catalogue's ids (known: movie_id, item_id); a row per row read.

    users: numbered_users where ids are text, None where they are 32-bit integers.
    user_id int, movie_id int, rating float (stars; of events the row's number of them, 1 if it does not say),
    rated_at timestamp (UTC; null when not given), reason string (null: accepted), then the row's place. Refused: wrong
    number of fields, unfit ids, ratings outside [min_rating, max_rating] or no numbers, events of 0 or less,
    timestamps outside 1970 to 2100, movies that are not in the catalogue, and all but the latest rating of a movie by a
    user (the same second: the later row wins). Events may be as many as there are.
    """
    seconds = F.expr("try_cast(timestamp as bigint)")
    # Not every text that Spark takes for a time: '12:30' would be today's.
    iso = F.when(F.trim("timestamp").rlike(r"^\d{4}-\d\d?-\d\d?([T ]|$)"), F.try_to_timestamp(F.trim("timestamp")))
    written = F.when(iso.between(*[F.timestamp_seconds(F.lit(end)) for end in (0, LAST_SECOND)]), iso)
    amount = F.coalesce("rating", F.lit("1")) if events else F.col("rating")
    parsed = ratings.frame.select(
        "user_id",
        "movie_id",
        amount.try_cast("float").alias("rating"),
        F.coalesce(F.when(seconds.between(0, LAST_SECOND), F.timestamp_seconds(seconds)), written).alias("rated_at"),
        (F.trim("timestamp") != "").alias("dated"),
        "malformed",
        *PLACE,
    )
    parsed = _identified(parsed, known, users)
    reason = _unreadable(users).when(F.col("rating").isNull(), "rating is not a number")
    if events:
        unfit = ~((F.col("rating") > 0) & (F.col("rating") <= MAX_COUNT))
        reason = reason.when(unfit, f"count is not above 0, up to {MAX_COUNT:,.0f}")
    else:
        in_range = F.col("rating").between(min_rating, max_rating)
        reason = reason.when(~in_range, f"rating is outside {min_rating:g} to {max_rating:g}")
    reason = reason.when(
        F.col("dated") & F.col("rated_at").isNull(),
        "timestamp is neither in seconds nor as in 2026-11-25T18:00:00, or not between 1970 and 2100",
    ).when(F.col("known").isNull(), "movie is not in the catalogue")
    columns = ["user_id", "movie_id", "rating", "rated_at", "reason", *PLACE]
    parsed = parsed.withColumn("reason", reason)
    # The text is kept for refused rows only: what is persisted stays small. Ids that are text are nowhere else.
    sound = parsed.where("reason is null")
    if events:
        sound = sound.withColumns({"row": F.lit(None).cast("string"), "reason": F.lit(None).cast("string")})
        return sound.select(columns).unionByName(parsed.where("reason is not null").select(columns))
    if users is None:
        sound = sound.withColumn("row", F.lit(None).cast("string"))
    latest_first = Window.partitionBy("user_id", "movie_id").orderBy(
        F.desc_nulls_last("rated_at"), F.desc("file"), F.desc("position")
    )
    repeated = F.row_number().over(latest_first) > 1
    sound = sound.withColumn("reason", F.when(repeated, REPLACED))
    return sound.select(columns).unionByName(parsed.where("reason is not null").select(columns))


def require_sound(
    checked: DataFrame, max_rejected_share: float, folder: str, more: list[str] | None = None
) -> tuple[dict[str, int], tuple[float, float]]:
    """Return the number of ratings 'accepted' and of those refused by reason, and the fewest and the most stars among
    the accepted; one pass over checked_ratings.

    more: files of data.more_ratings, whose stars say nothing about whether the data set has any.
    Raises PipelineError when none is accepted, or when more than the given share was refused, those aside that a later
    rating supersedes.
    """
    stars = F.when(~F.col("file").isin(more or []), F.col("rating"))
    figures = [F.count("*").alias("n_rows"), F.min(stars).alias("lowest"), F.max(stars).alias("highest")]
    rows = {row.reason: row for row in checked.groupBy("reason").agg(*figures).collect()}
    counts = {reason: row.n_rows for reason, row in rows.items()}
    accepted = counts.pop(None, 0)
    total, unfit = accepted + sum(counts.values()), {name: n for name, n in counts.items() if name != REPLACED}
    refused = sum(unfit.values())
    if 2 * sum(n for reason, n in unfit.items() if "is not a 32-bit integer" in reason) > total:
        raise PipelineError(
            f"{folder}: most ids of users or movies are no 32-bit integers; to keep ids as text: --set data.ids=string"
        )
    worst = "; ".join(f"{n:,} x {reason}" for reason, n in sorted(unfit.items(), key=lambda item: -item[1])[:3])
    if refused > max_rejected_share * total:
        raise PipelineError(
            f"{folder}: {refused:,} of {total:,} ratings are unfit ({worst}), more than "
            f"data.max_rejected_share={max_rejected_share:g} allows; fix the file, or allow more with "
            "--set data.max_rejected_share=SHARE"
        )
    if not accepted:
        raise PipelineError(f"{folder}: there is no rating below the header; give --set data.dir=DIR")
    return {"accepted": accepted, **counts}, (rows[None].lowest, rows[None].highest)


def accepted_ratings(checked: DataFrame, *, events: bool = False) -> DataFrame:
    """Return the accepted ones of checked_ratings: user_id, movie_id, rating, rated_at; events of a user and
    movie added up, as of the latest."""
    accepted = checked.where("reason is null").select("user_id", "movie_id", "rating", "rated_at")
    if not events:
        return accepted
    total = F.sum(F.col("rating").cast("double")).cast("float").alias("rating")
    return accepted.groupBy("user_id", "movie_id").agg(total, F.max("rated_at").alias("rated_at"))


def events_as_likes(events: DataFrame, *, like_rating: float, weight: float) -> DataFrame:
    """Return events, added up, with stars: every one is a like, and the more the heavier.

    One event has like_rating stars, n of them weight * log2(1 + n) - weight more. With weight the stars that a like of
    weight 1 is above one of weight 0, likes_table then makes of n events a like of weight log2(1 + n): Hu, Koren and
    Volinsky 2008, Collaborative Filtering for Implicit Feedback Datasets, whose confidence is 1 + alpha log(1 + n).
    Less than one event counts as one.
    """
    stars = like_rating + weight * (F.log2(1 + F.greatest("rating", F.lit(1.0))) - 1)
    return events.withColumn("rating", stars.cast("float"))


def interactions_as_likes(ratings: DataFrame, like_rating: float, more: list[str] | None = None) -> DataFrame:
    """Return ratings that are all alike, and so tell who chose what and nothing else, with the stars of a like.

    more: files of data.more_ratings, which keep their stars; the others' ratings become likes.
    """
    like = F.lit(like_rating).cast("float")
    if more:
        like = F.when(F.col("file").isin(more), F.col("rating")).otherwise(like)
    return ratings.withColumn("rating", like)


def interactions_table(interactions: Rows) -> DataFrame:
    """Return interactions as user_id int, movie_id int, rating float, null where the text is no such number."""
    columns = {"user_id": "int", "movie_id": "int", "rating": "float"}
    return interactions.frame.select(
        *[F.expr(f"try_cast({name} as {kind})").alias(name) for name, kind in columns.items()]
    )


def movies_table(
    checked: DataFrame,
    links: Rows | None,
    ratings: DataFrame,
    imdb: DataFrame | None = None,
    *,
    text_ids: bool = False,
    events: bool = False,
) -> DataFrame:
    """Return the movies table: one row per accepted movie of the catalogue, rated or not. Events have no mean.

    imdb: the imdb table, joined by way of the links.
    """
    mean = F.lit(None) if events else F.avg("rating")
    support = ratings.groupBy("movie_id").agg(
        F.count("*").cast("int").alias("n_ratings"), mean.cast("float").alias("mean_rating")
    )
    movies = checked.where("reason is null").join(support, "movie_id", how="left")
    movies = movies.withColumn("n_ratings", F.coalesce("n_ratings", F.lit(0)))
    if links is None:
        movies = movies.withColumns({"imdb_id": F.lit(None).cast("string"), "tmdb_id": F.lit(None).cast("int")})
    else:
        movies = movies.join(links_table(links, text_ids=text_ids), "item_id", how="left")
    if imdb is None:
        movies = movies.withColumns({column.name: F.lit(None).cast(column.type) for column in schemas.IMDB[1:]})
    else:
        movies = movies.join(imdb, "imdb_id", how="left")
    movies = movies.withColumn("imdb_genres", F.coalesce("imdb_genres", F.array().cast("array<string>")))
    return movies.select(schemas.names("movies"))


def links_table(links: Rows, *, text_ids: bool = False) -> DataFrame:
    """Return item_id string, imdb_id string ('tt0114709'), tmdb_id int of the links, null where there is no such id; a
    row per movie."""
    digits = F.regexp_extract("imdb_id", r"^(?:tt)?(\d+)$", 1)
    padded = F.lpad(digits, F.greatest(F.length(digits), F.lit(7)), F.lit("0"))
    linked = _text_id("movie_id") if text_ids else F.expr("cast(try_cast(movie_id as int) as string)")
    return links.frame.select(
        linked.alias("item_id"),
        F.when(digits != "", F.concat(F.lit("tt"), padded)).alias("imdb_id"),
        F.expr("try_cast(tmdb_id as int)").alias("tmdb_id"),
    ).dropDuplicates(["item_id"])


def checked_tags(tags: Rows, known: DataFrame, users: DataFrame | None = None) -> DataFrame:
    """Check the tags against the catalogue's ids and users, as checked_ratings does; a row per row read.

    user_id int, movie_id int, tag string (lower case, at most MAX_WORD characters), reason string (null: accepted),
    then the row's place. Refused: wrong number of fields, unfit ids, no tag, movies that are not in the catalogue.
    """
    parsed = tags.frame.select(
        "user_id",
        "movie_id",
        F.substring(F.lower(F.trim("tag")), 1, MAX_WORD).alias("tag"),
        "malformed",
        *PLACE,
    )
    parsed = _identified(parsed, known, users)
    reason = (
        _unreadable(users)
        .when(F.coalesce("tag", F.lit("")) == "", "tag is empty")
        .when(F.col("known").isNull(), "movie is not in the catalogue")
    )
    return parsed.select("user_id", "movie_id", "tag", reason.alias("reason"), *PLACE)


def words_table(movies: DataFrame, tags: DataFrame | None) -> DataFrame:
    """Return user_id, movie_id, word: the tags that were accepted by checked_tags and, without a user_id, what IMDb
    says in the movies table: genres, kind of title (but for 'movie'), and whether it is short or long."""
    nobody = F.lit(None).cast("int").alias("user_id")
    minutes = F.col("runtime_minutes")
    length = F.when(minutes < SHORT, "short").when(minutes >= LONG, "long")
    kind = F.nullif(F.lower("title_type"), F.lit("movie"))
    said = F.array_distinct(F.concat(F.transform("imdb_genres", F.lower), F.array(kind, length)))
    words = movies.select(nobody, "movie_id", F.explode(said).alias("word")).where("word is not null")
    if tags is not None:
        accepted = tags.where("reason is null")
        words = words.unionByName(accepted.select("user_id", "movie_id", F.col("tag").alias("word")))
    return words


def rejected_table(*sources: tuple[DataFrame, Rows]) -> DataFrame:
    """Return the rejected table from (checked table, the rows it was made from) pairs, with line numbers.

    Runs a small Spark job per pair: most tables are sound, and a look is quicker than numbering what is not there.
    """
    refused = [(checked.where("reason is not null"), rows.blocks) for checked, rows in sources]
    parts = [_numbered(frame, blocks) for frame, blocks in refused if not frame.isEmpty()]
    if not parts:
        return sources[0][0].sparkSession.createDataFrame([], schemas.spark_schema("rejected"))
    rejected = parts[0]
    for part in parts[1:]:
        rejected = rejected.unionByName(part)
    return rejected


def release_year(title: Column) -> Column:
    """Return the year, smallint, that closes the title: '(1995)', '(2006–2007)', '(2009- )'; null without one."""
    year = F.regexp_extract(title, r"\(((?:18|19|20)\d{2})\s*(?:[-–—]\s*(?:\d{4})?\s*)?\)\s*$", 1)
    return F.nullif(year, F.lit("")).cast("smallint")


def display_title(title: Column) -> Column:
    """Return the title to show: 'Matrix, The (1999)' becomes 'The Matrix'; so do titles in parentheses."""
    shown = F.regexp_replace(title, r"\s*\((?:18|19|20)\d{2}\s*(?:[-–—]\s*(?:\d{4})?\s*)?\)\s*$", "")
    shown = F.when(F.trim(shown) == "", title).otherwise(shown)
    start, end = r"(^|\((?:a\.k\.a\. |aka )?)", r"(?=\s*(?:\(|\)|$))"
    shown = F.regexp_replace(shown, rf"{start}([^()]*?), ({ARTICLES}){end}", "$1$3 $2")
    shown = F.regexp_replace(shown, rf"{start}([^()]*?), (L['’]){end}", "$1$3$2")
    return F.trim(shown)


def _text_id(column: str) -> Column:
    """Return an id that is text; null where it is empty or too long."""
    text = F.trim(column)
    return F.when(F.length(text).between(1, MAX_ID), text)


def _identified(rows: DataFrame, known: DataFrame, users: DataFrame | None) -> DataFrame:
    """Return rows with user_id and movie_id as integers, null where they are unfit, has_movie: whether the movie's is
    fit, and known: true where it is in the catalogue, else null."""
    if users is None:
        rows = rows.withColumns({name: F.expr(f"try_cast({name} as int)") for name in ("user_id", "movie_id")})
        rows = rows.withColumn("has_movie", F.col("movie_id").isNotNull())
        return rows.join(F.broadcast(known.select("movie_id", F.lit(True).alias("known"))), "movie_id", how="left")
    rows = rows.withColumns({"user": _text_id("user_id"), "item_id": _text_id("movie_id")}).drop("user_id", "movie_id")
    rows = rows.withColumn("has_movie", F.col("item_id").isNotNull())
    items = F.broadcast(known.select("item_id", "movie_id", F.lit(True).alias("known")))
    return rows.join(items, "item_id", how="left").join(users, "user", how="left")


def _unreadable(users: DataFrame | None) -> Column:
    """Return why a row does not say whose it is or about which movie; continue it with .when(...)."""
    unfit = "is not a 32-bit integer" if users is None else f"is empty or longer than {MAX_ID} characters"
    return (
        F.when(F.col("malformed"), "wrong number of fields")
        .when(F.col("user_id").isNull(), f"user id {unfit}")
        .when(~F.col("has_movie"), f"movie id {unfit}")
    )


def _numbered(rejected: DataFrame, blocks: DataFrame | None) -> DataFrame:
    """Return rejected rows with their line in the file, counted from 1.

    Spark reads a text file in blocks and hands out positions that rise within a block; the lines of the
    blocks before it tell where a block begins. Rows of Parquet files know their position in the file.
    """
    if blocks is None:
        line = F.col("position") + 1
    else:
        before = Window.partitionBy("file").orderBy("block").rowsBetween(Window.unboundedPreceding, -1)
        starts = blocks.withColumn("before", F.coalesce(F.sum("n_lines").over(before), F.lit(0)))
        rejected = rejected.join(F.broadcast(starts), ["file", "block"], how="left")
        # Parquet files that were read together with text files have no blocks here.
        line = F.coalesce(F.col("position") - F.col("first") + F.col("before"), "position") + 1
    fields = [name for name in rejected.columns if name not in [*PLACE, "reason", "n_lines", "first", "before"]]
    row = F.coalesce("row", F.to_json(F.struct(fields)))
    return rejected.select("file", line.alias("line"), "reason", row.alias("row"))
