"""Every form of input that really occurs, and every way in which a row or a file can be wrong."""

import datetime

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import config as configuration
from pipeline.batch.run import Run
from pipeline.batch.stages import ingest
from pipeline.config import PipelineError
from pipeline.data import checks, reader
from pipeline.model.content import movie_words
from pipeline.terminal import console

RATINGS = "userId,movieId,rating,timestamp\n"
MOVIES = "movieId,title,genres\n1,One (1995),A\n2,Two (1996),B\n3,Three (1997),A|B\n"


def write(folder, **files):
    for name, content in files.items():
        content = content.encode("utf-8") if isinstance(content, str) else content
        (folder / name.replace("_", ".")).write_bytes(content)
    return str(folder)


def movies(spark, folder):
    rows = checks.checked_movies(reader.read_movies(spark, folder)).orderBy("position").collect()
    return [(row.movie_id, row.title, row.year, row.genres) for row in rows if row.reason is None]


def ratings(spark, folder):
    """Accepted ratings and rejected rows: (user, movie, stars), (line, reason, row)."""
    read = reader.read_ratings(spark, folder)
    known = checks.checked_movies(reader.read_movies(spark, folder)).where("reason is null")
    checked = checks.checked_ratings(read, known, min_rating=0.5, max_rating=5.0)
    accepted = [(r.user_id, r.movie_id, r.rating) for r in checks.accepted_ratings(checked).collect()]
    rejected = checks.rejected_table((checked, read)).orderBy("line").collect()
    return sorted(accepted), [(row.line, row.reason, row.row) for row in rejected]


@pytest.mark.parametrize(
    ("raw", "title", "year"),
    [
        ("Toy Story (1995)", "Toy Story", 1995),
        ("Matrix, The (1999)", "The Matrix", 1999),
        ("From Dusk Till Dawn 2: Texas Blood Money (1999) ", "From Dusk Till Dawn 2: Texas Blood Money", 1999),
        ("Death Note: Desu nôto (2006–2007)", "Death Note: Desu nôto", 2006),
        ("Big Bang Theory, The (2007-)", "The Big Bang Theory", 2007),
        ("Fargo (2014- )", "Fargo", 2014),
        ("Babylon 5", "Babylon 5", None),
        ("Cosmos", "Cosmos", None),
        ("2001: A Space Odyssey (1968)", "2001: A Space Odyssey", 1968),
        ("1984 (Nineteen Eighty-Four) (1984)", "1984 (Nineteen Eighty-Four)", 1984),
        ("(500) Days of Summer (2009)", "(500) Days of Summer", 2009),
        ("Movie 43 (9999)", "Movie 43 (9999)", None),
        ("(1995)", "(1995)", 1995),
        ("City of Lost Children, The (Cité des enfants perdus, La) (1995)",
         "The City of Lost Children (La Cité des enfants perdus)", 1995),
        ("Good, the Bad and the Ugly, The (Buono, il brutto, il cattivo, Il) (1966)",
         "The Good, the Bad and the Ugly (Il Buono, il brutto, il cattivo)", 1966),
        ("Avventura, L' (Adventure, The) (1960)", "L'Avventura (The Adventure)", 1960),
        ("Léon: The Professional (a.k.a. Professional, The) (Léon) (1994)",
         "Léon: The Professional (a.k.a. The Professional) (Léon)", 1994),
        ("I, Robot (2004)", "I, Robot", 2004),
        ("Monsters, Inc. (2001)", "Monsters, Inc.", 2001),
    ],
)  # fmt: skip
def test_titles_and_years(spark, raw, title, year):
    from pyspark.sql import functions as F

    row = spark.range(1).select(
        checks.display_title(F.lit(raw)).alias("title"), checks.release_year(F.lit(raw)).alias("year")
    ).head()  # fmt: skip
    assert (row.title, row.year) == (title, year)


def test_csv_with_everything_that_csv_allows(spark, tmp_path):
    folder = write(
        tmp_path,
        movies_csv='\ufeffmovieId,title,genres\r\n1,"Dr. ""X"", The (1995)",A|B\r\n'
        '2,"One, Two (2001)",(no genres listed)\r\n'
        "3,No Year,\r\n\r\n4,,A\r\n5,Emoji 🎬 ; 'quote' (2001),A| A |\r\n",
    )
    assert movies(spark, folder) == [
        (1, 'The Dr. "X"', 1995, ["A", "B"]),
        (2, "One, Two", 2001, []),
        (3, "No Year", None, []),
        (4, "Movie 4", None, ["A"]),
        (5, "Emoji 🎬 ; 'quote'", 2001, ["A"]),
    ]


def test_columns_are_found_by_their_names(spark, tmp_path):
    catalogue = '"title",extra,movie_id\nSolo (2018),x,7\n'
    folder = write(tmp_path, movies_csv=catalogue, ratings_csv="rating,movie_id,user_id\n4,7,1\n")
    assert movies(spark, folder) == [(7, "Solo", 2018, [])]
    assert ratings(spark, folder) == ([(1, 7, 4.0)], [])


def test_dat_in_latin_1_or_utf_8(spark, tmp_path):
    folder = write(
        tmp_path,
        movies_dat='1::"Caf\u00e9", The (1990)::A|B\n'.encode("latin-1") + "2::Café (1991)::C\n".encode(),
        ratings_dat="1::1::5::978300760\n1::2::3::978300761\n",
    )
    assert movies(spark, folder) == [(1, 'The "Café"', 1990, ["A", "B"]), (2, "Café", 1991, ["C"])]
    assert ratings(spark, folder) == ([(1, 1, 5.0), (1, 2, 3.0)], [])


def test_the_hundred_thousand_form(spark, tmp_path):
    flags = ["0"] * 19
    flags[5], flags[16] = "1", "1"
    folder = write(
        tmp_path,
        u_item=f"1|Toy Story (1995)|01-Jan-1995||http://x|{'|'.join(flags)}\n2|unknown||||1{'|0' * 18}\n",
        u_data="196\t1\t3\t881250949\n196\t2\t1\t881250949\n",
    )
    assert movies(spark, folder) == [(1, "Toy Story", 1995, ["Comedy", "Thriller"]), (2, "unknown", None, [])]
    assert ratings(spark, folder) == ([(196, 1, 3.0), (196, 2, 1.0)], [])


def test_parquet_files_and_folders(spark, tmp_path):
    when = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    table = {"userId": [1, 1, 2], "movieId": [1, 9, 1], "rating": [4.5, 3.0, 7.0], "rated_at": [when] * 3}
    pq.write_table(pa.table(table), tmp_path / "ratings.parquet")
    (tmp_path / "movies").mkdir()
    catalogue = {"movie_id": [1], "title": ["One (1995)"], "genres": [["A", "B"]]}
    pq.write_table(pa.table(catalogue), tmp_path / "movies" / "part-0.parquet")
    assert movies(spark, str(tmp_path)) == [(1, "One", 1995, ["A", "B"])]
    accepted, rejected = ratings(spark, str(tmp_path))
    assert accepted == [(1, 1, 4.5)]
    assert [row[:2] for row in rejected] == [(2, "movie is not in the catalogue"), (3, "rating is outside 0.5 to 5")]
    assert '"rating":7.0' in rejected[1][2]


def test_rejected_rows_say_why_and_where(spark, tmp_path):
    rows = [
        "1,1,4.0,1000",  # line 2
        "1,1,five,1000",
        "1,1,5.5,1000",
        "1,1,NaN,1000",
        "x,1,4.0,1000",
        "1,2147483648,4.0,1000",
        "1,99,4.0,1000",
        "1,2,4.0,99999999999",
        "1,2,4.0,-1",
        "1,2,4.0",
        "1,2,4.0,1000,extra",
        "",
        "2,1,3.0,2000",  # line 14: superseded by the next
        "2,1,4.5,3000",
        "2,2,1.0,3000",  # line 16: the same second, the later row wins
        "2,2,2.0,3000",
    ]
    accepted, rejected = ratings(spark, write(tmp_path, movies_csv=MOVIES, ratings_csv=RATINGS + "\n".join(rows)))
    assert accepted == [(1, 1, 4.0), (2, 1, 4.5), (2, 2, 2.0)]
    assert [row[:2] for row in rejected] == [
        (3, "rating is not a number"),
        (4, "rating is outside 0.5 to 5"),
        (5, "rating is outside 0.5 to 5"),
        (6, "user id is not a 32-bit integer"),
        (7, "movie id is not a 32-bit integer"),
        (8, "movie is not in the catalogue"),
        (9, "timestamp is neither in seconds nor as in 2026-11-25T18:00:00, or not between 1970 and 2100"),
        (10, "timestamp is neither in seconds nor as in 2026-11-25T18:00:00, or not between 1970 and 2100"),
        (11, "wrong number of fields"),
        (12, "wrong number of fields"),
        (14, "a later rating by the same user exists"),
        (16, "a later rating by the same user exists"),
    ]
    assert rejected[0][2] == "1,1,five,1000"
    assert '"rating":3.0' in rejected[10][2]


def test_lines_are_counted_across_the_blocks_of_a_split_file(spark, tmp_path):
    lines = [f"{user},1,4.0,1000" for user in range(1, 3001)]
    lines[2500] = "2501,1,oops,1000"
    folder = write(tmp_path, movies_csv=MOVIES, ratings_csv=RATINGS + "\n".join(lines) + "\n")
    before = spark.conf.get("spark.sql.files.maxPartitionBytes")
    spark.conf.set("spark.sql.files.maxPartitionBytes", "10000")
    try:
        assert reader.read_ratings(spark, folder).frame.rdd.getNumPartitions() > 3
        accepted, rejected = ratings(spark, folder)
    finally:
        spark.conf.set("spark.sql.files.maxPartitionBytes", before)
    assert len(accepted) == 2999
    assert rejected == [(2502, "rating is not a number", "2501,1,oops,1000")]


def test_movies_that_cannot_be_are_rejected(spark, tmp_path):
    folder = write(tmp_path, movies_csv=MOVIES + "x,Four (1998),A\n1,Again (1995),A\n5,Five, the (1999),A\n")
    read = reader.read_movies(spark, folder)
    checked = checks.checked_movies(read)
    rejected = checks.rejected_table((checked, read)).orderBy("line").collect()
    assert [(row.line, row.reason) for row in rejected] == [
        (5, "movie id is not a 32-bit integer"),
        (6, "movie id is here a second time"),
        (7, "wrong number of fields"),
    ]
    assert [row[0] for row in movies(spark, folder)] == [1, 2, 3]


def test_movies_table_joins_support_and_links(spark, tmp_path):
    folder = write(
        tmp_path,
        movies_csv=MOVIES,
        ratings_csv=RATINGS + "1,1,4.0,1\n2,1,5.0,1\n1,2,0.5,1\n",
        links_csv="movieId,imdbId,tmdbId\n1,0114709,862\n2,113497,\n",
    )
    read = reader.read_ratings(spark, folder)
    checked = checks.checked_movies(reader.read_movies(spark, folder))
    rated = checks.accepted_ratings(
        checks.checked_ratings(read, checked.where("reason is null"), min_rating=0.5, max_rating=5.0)
    )
    table = checks.movies_table(checked, reader.read_links(spark, folder), rated).orderBy("movie_id").collect()
    columns = [(row.imdb_id, row.tmdb_id, row.n_ratings, row.mean_rating) for row in table]
    assert columns == [("tt0114709", 862, 2, 4.5), ("tt0113497", None, 1, 0.5), (None, None, 0, None)]
    without_links = checks.movies_table(checked, None, rated)
    assert without_links.dtypes == checks.movies_table(checked, reader.read_links(spark, folder), rated).dtypes
    assert without_links.where("imdb_id is not null").count() == 0


def test_words_are_the_tags_that_stand_the_check(spark, tmp_path):
    folder = write(
        tmp_path,
        movies_csv=MOVIES,
        ratings_csv=RATINGS + "1,1,4.0,1\n2,1,5.0,1\n",
        links_csv="movieId,imdbId,tmdbId\n1,0114709,862\n",
        tags_csv="userId,movieId,tag,timestamp\n1,1, Pixar ,5\n2,1,pixar,5\n2,2,robots,5\n1,9,lost,5\nx,1,no,5\n1,1,,5\n",  # noqa: E501
    )
    known = checks.checked_movies(reader.read_movies(spark, folder))
    read = reader.read_ratings(spark, folder)
    rated = checks.checked_ratings(read, known.where("reason is null"), min_rating=0.5, max_rating=5.0)
    rated = checks.accepted_ratings(rated)
    movies = checks.movies_table(known, reader.read_links(spark, folder), rated)
    read_tags = reader.read_tags(spark, folder)
    tags = checks.checked_tags(read_tags, known.where("reason is null"))
    rejected = checks.rejected_table((tags, read_tags)).orderBy("line").collect()
    assert [(row.line, row.reason) for row in rejected] == [
        (5, "movie is not in the catalogue"), (6, "user id is not a 32-bit integer"), (7, "tag is empty"),
    ]  # fmt: skip
    words = checks.words_table(movies, tags)
    # The second user did not rate movie 2, so their word for it may tell of a held-out rating.
    counted = sorted(map(tuple, movie_words(words, rated).collect()))
    assert counted == [(1, "pixar", 2)]
    assert checks.words_table(movies, None).count() == 0


@pytest.mark.parametrize(
    ("files", "words"),
    [
        ({"movies_csv": MOVIES}, ["no ratings here", "ratings.csv", "ratings.dat", "download_movielens"]),
        ({"movies_csv": MOVIES, "ratings_csv": ""}, ["ratings.csv", "empty"]),
        (
            {"movies_csv": MOVIES, "ratings_csv": "user,film,stars\n1,1,4\n"},
            ["ratings.csv", "no user_id", "user, film, stars"],
        ),
        ({"ratings_csv": RATINGS + "1,1,4,1\n"}, ["no movies here", "movies.csv"]),
        (
            {"movies_csv": "movieId,name\n1,One\n", "ratings_csv": RATINGS + "1,1,4,1\n"},
            ["movies.csv", "no title column"],
        ),
        ({"movies_csv": MOVIES, "ratings_csv": RATINGS}, ["no rating below the header"]),
        (
            {"movies_csv": MOVIES, "ratings_csv": RATINGS + "1,1,4,1\n1,2,x,1\n"},
            ["1 of 2 ratings", "not a number", "--set"],
        ),
    ],
)
def test_unusable_folders_end_in_one_clear_line(spark, tmp_path, files, words):
    folder = write(tmp_path, **files)
    with pytest.raises(PipelineError) as error:
        read = reader.read_ratings(spark, folder)
        known = checks.checked_movies(reader.read_movies(spark, folder)).where("reason is null")
        checks.require_sound(checks.checked_ratings(read, known, min_rating=0.5, max_rating=5.0), 0.05, folder)
    assert "\n" not in str(error.value)
    for word in [str(tmp_path), *words]:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("train.txt", "1 10 11\n2 10\n3\n"),
        ("pairs.csv", "userId,itemId\n1,10\n1,11\n2,10\n"),
        ("pairs.tsv", "1\t10\n1\t11\n2\t10\n"),
        ("set.inter", "user_id:token\titem_id:token\ttimestamp:float\n1\t10\t5\n1\t11\t6\n2\t10\t7\n"),
    ],
)
def test_a_file_of_interactions_is_read_with_its_own_catalogue(spark, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    path = str(tmp_path / name)
    movies = checks.checked_movies(reader.read_movies(spark, path))
    assert sorted((row.movie_id, row.title, row.reason) for row in movies.collect()) == [
        (10, "Movie 10", None), (11, "Movie 11", None),
    ]  # fmt: skip
    checked = checks.checked_ratings(reader.read_ratings(spark, path), movies, min_rating=0.5, max_rating=5.0)
    rows = sorted((row.user_id, row.movie_id, row.rating) for row in checks.accepted_ratings(checked).collect())
    assert rows == [(1, 10, 1.0), (1, 11, 1.0), (2, 10, 1.0)]
    assert reader.read_links(spark, path) is None


def test_a_file_of_interactions_names_what_is_wrong_with_it(spark, tmp_path):
    (tmp_path / "pairs.csv").write_text("who,what\n1,2\n")
    with pytest.raises(PipelineError, match="no user_id and no movie_id column"):
        reader.read_ratings(spark, str(tmp_path / "pairs.csv"))
    with pytest.raises(PipelineError, match="no such file"):
        reader.read_ratings(spark, str(tmp_path / "none.txt"))


@pytest.fixture
def short_blocks(spark):
    """Files are read in blocks of about three lines."""
    before = spark.conf.get("spark.sql.files.maxPartitionBytes")
    spark.conf.set("spark.sql.files.maxPartitionBytes", "60")
    yield
    spark.conf.set("spark.sql.files.maxPartitionBytes", before)


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_further_ratings_are_merged_by_user_and_movie(spark, short_blocks, tmp_path, form):
    columns = {"userId": [1, 1, 2, 9], "movieId": [1, 2, 1, 7], "rating": [3.0, 3.0, 2.0, 4.0]}
    columns["timestamp"] = [1000, 1000, 1000, 1000]
    if form == "csv":
        lines = [",".join(map(str, row)) for row in zip(*columns.values(), strict=True)]
        (tmp_path / "ratings.csv").write_text(RATINGS + "\n".join(lines) + "\n")
    else:
        pq.write_table(pa.table(columns), tmp_path / "ratings.parquet")
    folder = write(tmp_path, movies_csv=MOVIES)
    thumbs = ["1,1,5.0,2000", "1,2,0.5,500", "2147483647,3,5.0,1", "2147483647,99,5.0,1", "2147483647,1,5.0"]
    (tmp_path / "thumbs.csv").write_text(RATINGS + "\n".join(thumbs) + "\n")
    more = reader.read_more_ratings(spark, str(tmp_path / "thumbs.csv"))
    read = reader.together(reader.read_ratings(spark, folder), more)
    known = checks.checked_movies(reader.read_movies(spark, folder)).where("reason is null")
    checked = checks.checked_ratings(read, known, min_rating=0.5, max_rating=5.0).persist()
    accepted = [(r.user_id, r.movie_id, r.rating) for r in checks.accepted_ratings(checked).collect()]
    rejected = checks.rejected_table((checked, read)).orderBy("file", "line").collect()
    assert sorted(accepted) == [(1, 1, 5.0), (1, 2, 3.0), (2, 1, 2.0), (2147483647, 3, 5.0)]
    first = 2 if form == "csv" else 1  # below the header
    assert [(row.file.rpartition("/")[2], row.line, row.reason) for row in rejected] == [
        (f"ratings.{form}", first, "a later rating by the same user exists"),
        (f"ratings.{form}", first + 3, "movie is not in the catalogue"),
        ("thumbs.csv", 3, "a later rating by the same user exists"),
        ("thumbs.csv", 5, "movie is not in the catalogue"),
        ("thumbs.csv", 6, "wrong number of fields"),
    ]
    # Of the thumbs 3 of 5 are refused, of all ratings 5 of 9; two of them only because a later one takes their place.
    files = reader.files(more)
    assert checks.require_sound(checked, 0.34, folder, files)[0]["accepted"] == 4
    with pytest.raises(PipelineError, match="3 of 9 ratings"):
        checks.require_sound(checked, 0.33, folder, files)
    checked.unpersist()


def test_a_drop_folder_is_merged_file_by_file_whatever_their_headers(spark, short_blocks, tmp_path):
    folder = write(tmp_path, movies_csv=MOVIES, ratings_csv=RATINGS + "1,1,3.0,1000\n1,2,3.0,1000\n2,1,3.0,1000\n")
    drop = tmp_path / "new [1] 50%"
    drop.mkdir()
    (drop / "monday.csv").write_text(RATINGS + "1,1,4.0,2000\n5,1,4.0,2000\n5,9,4.0,2000\n")
    (drop / "tuesday.csv").write_text("rating,item_id,user_id,rated_at\n5.0,1,1,3000\n0.5,2,1,500\n1,1\n")
    (drop / "wednesday.csv").write_text("6,2,4.5,1000\n6,3,4.5,1000\n")  # without a header
    (drop / "thursday.csv").write_text("7,3,2.5,1000\n")
    (drop / "header only.csv").write_text(RATINGS)
    for passed_over in (".half written.csv", "_SUCCESS.csv", "notes.txt"):
        (drop / passed_over).write_text("no ratings\n")
    read = reader.together(
        reader.read_ratings(spark, folder), reader.read_more_ratings(spark, str(drop).replace("[", "\\[") + "/")
    )
    known = checks.checked_movies(reader.read_movies(spark, folder)).where("reason is null")
    checked = checks.checked_ratings(read, known, min_rating=0.5, max_rating=5.0)
    accepted = [(r.user_id, r.movie_id, r.rating) for r in checks.accepted_ratings(checked).collect()]
    assert sorted(accepted) == [
        (1, 1, 5.0), (1, 2, 3.0), (2, 1, 3.0), (5, 1, 4.0), (6, 2, 4.5), (6, 3, 4.5), (7, 3, 2.5),
    ]  # fmt: skip
    rejected = checks.rejected_table((checked, read)).collect()
    assert sorted((row.file.rpartition("/")[2], row.line, row.reason) for row in rejected) == [
        ("monday.csv", 2, "a later rating by the same user exists"),
        ("monday.csv", 4, "movie is not in the catalogue"),
        ("ratings.csv", 2, "a later rating by the same user exists"),
        ("tuesday.csv", 3, "a later rating by the same user exists"),
        ("tuesday.csv", 4, "wrong number of fields"),
    ]


def test_several_places_and_a_first_night_without_new_ratings(spark, tmp_path, capsys):
    """As every job loads them."""
    folder = write(tmp_path, movies_csv=MOVIES, ratings_csv=RATINGS + "1,1,3.0,1000\n2,1,5.0,1000\n")
    (tmp_path / "drop").mkdir()
    more = tmp_path / "more"  # a data set: its other tables are not ratings
    more.mkdir()
    write(more, movies_csv=MOVIES, ratings_csv=RATINGS + "3,1,2.0,1000\n", tags_csv="userId,movieId,tag\n1,1,x\n")
    places = f"[{tmp_path}/drop, {tmp_path}/none/*.csv, {more}]"
    config = configuration.load(
        [], [f"data.dir={folder}", f"warehouse.dir={tmp_path}/w", f"data.more_ratings={places}"]
    )
    run = Run(config, spark, console(), None)
    run.start_build()
    assert ingest(run)[0].count() == 3
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("no new ratings")]
    assert told == [f"no new ratings in {tmp_path}/drop", f"no new ratings in {tmp_path}/none/*.csv"]
    assert {source["path"].rpartition("/")[0] for source in run.build.manifest["inputs"]} == {folder, str(more)}
    (tmp_path / "drop" / "damaged.csv").write_bytes(b"\x00\xff\xfe garbage\n")
    with pytest.raises(PipelineError, match=r"drop/damaged\.csv: the header has no user_id") as error:
        ingest(run)
    assert "\n" not in str(error.value)
    (tmp_path / "drop" / "damaged.csv").write_bytes(b"")
    with pytest.raises(PipelineError, match=r"drop/damaged\.csv: the file is empty"):
        ingest(run)


def test_thumbs_keep_their_stars_beside_ratings_that_are_all_alike(spark, tmp_path):
    """As every job loads them."""
    (tmp_path / "pairs.csv").write_text("userId,itemId\n1,10\n1,11\n2,10\n")
    (tmp_path / "thumbs.csv").write_text(RATINGS + "7,10,5.0,1\n7,11,0.5,1\n7,99,5.0,1\n")
    files = [f"data.dir={tmp_path}/pairs.csv", f"data.more_ratings={tmp_path}/thumbs.csv"]
    config = configuration.load([], [*files, f"warehouse.dir={tmp_path}/w", "data.max_rejected_share=0.17"])
    run = Run(config, spark, console(), None)
    run.start_build()
    ratings, _, _ = ingest(run)
    assert sorted((row.user_id, row.movie_id, row.rating) for row in ratings.collect()) == [
        (1, 10, 4.0), (1, 11, 4.0), (2, 10, 4.0), (7, 10, 5.0), (7, 11, 0.5),
    ]  # fmt: skip
    config.data.max_rejected_share = 0.16
    with pytest.raises(PipelineError, match=r"pairs\.csv and \S*thumbs\.csv: 1 of 6 ratings"):
        ingest(run)


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("thumbs.csv", None, "no ratings here; give --set data.more_ratings="),
        ("folder", None, "no ratings here; give --set data.more_ratings="),
        ("thumbs.csv", "", "the file is empty"),
        ("thumbs.csv", "userId,movieId\n1,1\n", "no rating column"),
        ("thumbs.csv", "1,1\n", "no rating column"),
        ("thumbs.txt", "1 10 11\n", "no rating column"),
    ],
)
def test_further_ratings_that_are_no_use_end_in_one_clear_line(spark, tmp_path, name, text, words):
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(PipelineError, match=words) as error:
        reader.read_more_ratings(spark, str(tmp_path / name))
    assert str(tmp_path / name) in str(error.value) and "\n" not in str(error.value)
