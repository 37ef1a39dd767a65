"""IMDb's files as a user downloads them, made small, to the columns of movies and to neighbours."""

import argparse
import gzip

import numpy as np
import pyarrow.parquet as pq
import pytest

from app.cards import facts
from jobs import enrich_imdb
from pipeline import config as configuration
from pipeline import schemas
from pipeline.batch.run import Run
from pipeline.batch.stages import ingest
from pipeline.config import PipelineError
from pipeline.evaluation import ranking
from pipeline.model.content import content, movie_words
from pipeline.model.spectral import Spectrum, spectral_vectors
from pipeline.release import store
from pipeline.serving.recommender import Recommender
from pipeline.terminal import console
from tests.conftest import MOVIES, publish

TITLES = "tconst\ttitleType\tprimaryTitle\toriginalTitle\tisAdult\tstartYear\tendYear\truntimeMinutes\tgenres\n"
RATINGS = "tconst\taverageRating\tnumVotes\n"
LINKS = "movieId,imdbId,tmdbId\n1,0000001,\n2,2,\n3,tt12345678,\n4,4,\n5,5,\n6,,7\n"
CATALOGUE = "movieId,title,genres\n" + "".join(f"{movie},Film {movie},(no genres listed)\n" for movie in range(1, 7))


def title(imdb_id, minutes="\\N", genres="\\N", kind="movie", name="A Name"):
    return f"{imdb_id}\t{kind}\t{name}\t{name}\t0\t2000\t\\N\t{minutes}\t{genres}\n"


@pytest.fixture
def enrich(spark, tmp_path):
    """Writes the two files into a folder, packed, and runs the job on them; settings and --imdb as in real life."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "links.csv").write_text(LINKS)
    (data / "movies.csv").write_text(CATALOGUE)
    (data / "ratings.csv").write_text("userId,movieId,rating\n1,1,4\n1,2,5\n2,1,3\n")

    def enrich(titles, ratings=RATINGS, *settings, imdb=None):
        folder = tmp_path / "imdb" if imdb is None else imdb
        folder.mkdir(exist_ok=True)
        for name, packed in (("title.basics", titles), ("title.ratings", ratings)):
            packed = gzip.compress(packed.encode()) if isinstance(packed, str) else packed
            (folder / f"{name}.tsv.gz").write_bytes(packed)
        spark.catalog.clearCache()  # a job has a session of its own
        enrich_imdb.main(job(spark, tmp_path, *settings, imdb=str(folder)))
        return pq.read_table(data / "imdb.parquet").to_pylist()

    return enrich


def job(spark, tmp_path, *settings, imdb=None):
    where = [f"data.dir={tmp_path}/data", f"warehouse.dir={tmp_path}/w", *settings]
    return Run(configuration.load([], where), spark, console(), argparse.Namespace(imdb=imdb))


def test_the_table_has_the_linked_titles_and_movies_take_it_over(enrich, spark, tmp_path):
    titles = TITLES + title("tt0000001", "81", "Animation,Family", name='"Heroes\\') + title("tt0000009", "9")
    titles += title("tt0000002", "0", kind="tvMovie", name="Zwölf") + title("tt12345678", "51420", "Drama")
    titles += title("tt0000004", "150", "Drama") + title("tt0000005", "44", "Animation,Family")
    table = enrich(titles, RATINGS + "tt0000001\t8.3\t1099999\ntt0000009\t1.0\t5\n")
    assert [tuple(row.values()) for row in table] == [
        ("tt0000001", "movie", 81, ["Animation", "Family"], pytest.approx(8.3), 1099999),
        ("tt0000002", "tvMovie", None, [], None, None),
        ("tt0000004", "movie", 150, ["Drama"], None, None),
        ("tt0000005", "movie", 44, ["Animation", "Family"], None, None),
        ("tt12345678", "movie", 51420, ["Drama"], None, None),
    ]
    run = job(spark, tmp_path)
    run.start_build()
    ratings, movies, words = ingest(run)
    columns = ["movie_id", "title_type", "runtime_minutes", "imdb_genres", "imdb_rating", "imdb_votes"]
    assert [tuple(row) for row in movies.orderBy("movie_id").select(columns).collect()] == [
        (1, "movie", 81, ["Animation", "Family"], pytest.approx(8.3), 1099999),
        (2, "tvMovie", None, [], None, None),
        (3, "movie", 51420, ["Drama"], None, None),
        (4, "movie", 150, ["Drama"], None, None),
        (5, "movie", 44, ["Animation", "Family"], None, None),
        (6, None, None, [], None, None),
    ]
    assert sorted((row.movie_id, row.word) for row in words.collect()) == [
        (1, "animation"), (1, "family"), (2, "tvmovie"), (3, "drama"), (3, "long"),
        (4, "drama"), (4, "long"), (5, "animation"), (5, "family"), (5, "short"),
    ]  # fmt: skip
    # Nobody rated or tagged films 4, 5 and 6, and no genre is listed for any: what goes with them, IMDb's words say.
    described = content(movies, movie_words(words, ratings))
    likers, unknown = np.array([1, 1, 1, 0, 0, 0]), np.zeros((6, 1))
    known = Spectrum(np.arange(1, 7), likers, unknown, np.ones(1), 2, 54.0)
    weights = {"damping": 0.6, "popularity_exponent": -0.46, "residual": 0, "content": 2.3, "year": 0.5, "words": 1}
    weights["agreement"] = 0
    vectors, _ = spectral_vectors(known, described, **weights)
    query, candidate = (np.array(vectors.column(name).to_pylist()) for name in ("query", "candidate"))
    similar = query @ candidate.T * (1 - np.eye(6))
    assert similar[3].argmax() + 1 == 3 and similar[4].argmax() + 1 == 1 and not similar[5].any()
    assert "imdb.parquet" in {source["path"].rpartition("/")[2] for source in run.build.manifest["inputs"]}


def test_broken_rows_are_rejected_with_reason_and_line(enrich, tmp_path):
    titles = TITLES + title("tt0000001") + title("tt0000002", "Reality-TV") + title("tt0000004", "-5") + "tt5\tmovie\n"
    titles += title("tt0000001", "99") + title("tt0000008", "words") + title("tt0000005", "100001")
    ratings = RATINGS + "tt0000001\t0.5\t3\ntt0000001\t8.1\t3\ntt0000002\t9\t0\ntt0000004\tx\t1\ntt0000005\n"
    settings = ["data.max_rejected_share=0.95"]
    assert [(row["imdb_id"], row["imdb_votes"]) for row in enrich(titles, ratings, *settings)] == [("tt0000001", None)]
    rejected = pq.read_table(tmp_path / "data" / "imdb.rejected.parquet").to_pylist()
    minutes, second = "runtime is not a number of minutes", "title is here a second time"
    assert sorted((row["file"].rpartition("/")[2], row["line"], row["reason"]) for row in rejected) == [
        ("title.basics.tsv.gz", 3, minutes), ("title.basics.tsv.gz", 4, minutes),
        ("title.basics.tsv.gz", 5, "wrong number of fields"), ("title.basics.tsv.gz", 6, second),
        ("title.basics.tsv.gz", 8, minutes),
        ("title.ratings.tsv.gz", 2, "rating is not between 1 and 10"), ("title.ratings.tsv.gz", 3, second),
        ("title.ratings.tsv.gz", 4, "votes are not a whole number from 1 on"),
        ("title.ratings.tsv.gz", 5, "rating is not between 1 and 10"),
        ("title.ratings.tsv.gz", 6, "wrong number of fields"),
    ]  # fmt: skip


def test_a_mistake_is_one_line_and_changes_nothing(enrich, spark, tmp_path):
    good = TITLES + title("tt0000001", "81") + title("tt0000002", "90")
    before = enrich(good)
    cut_off = gzip.compress(good.encode() * 1000)[:-400]
    for titles, ratings, words in [
        (RATINGS + "tt0000001\t8.3\t5\n", RATINGS, "title.basics.tsv.gz: the header has no title_type"),
        (good, TITLES, "title.ratings.tsv.gz: the header has no average_rating"),
        ("<!DOCTYPE html>\n<p>Not found\n", RATINGS, "title.basics.tsv.gz: the header has no imdb_id"),
        (b"", RATINGS, "title.basics.tsv.gz: the file is empty"),
        (b"not packed\n", RATINGS, "is damaged, or not whole"),
        (cut_off, RATINGS, "is damaged, or not whole"),
        (TITLES + title("tt0000009", "81"), RATINGS, "none of the titles that links.csv names"),
        (TITLES + title("tt0000001", "81") + title("tt0000002", "x"), RATINGS, "1 of 2 rows are unfit .*not a number"),
    ]:
        with pytest.raises(PipelineError, match=words) as error:
            enrich(titles, ratings)
        assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)
        assert pq.read_table(tmp_path / "data" / "imdb.parquet").to_pylist() == before
    (tmp_path / "data" / "links.csv").unlink()
    with pytest.raises(PipelineError, match=r"no links\.csv here"):
        enrich(good)
    with pytest.raises(PipelineError, match="a local file"):
        enrich(good, RATINGS, "data.imdb=hdfs:///imdb.parquet")
    with pytest.raises(PipelineError, match=r"no title\.basics\.tsv\.gz here.*--imdb DIR"):
        enrich_imdb.main(job(spark, tmp_path))  # data.dir, where they are not
    with pytest.raises(PipelineError, match=r"no such table; make it with .*enrich_imdb"):
        ingest(job(spark, tmp_path, f"data.imdb={tmp_path}/none.parquet"))
    (tmp_path / "data" / "imdb.parquet").write_bytes((tmp_path / "data" / "movies.csv").read_bytes())
    with pytest.raises(PipelineError, match=r"imdb\.parquet: this is not a Parquet table"):
        ingest(job(spark, tmp_path))


@pytest.mark.parametrize(("minutes", "said"), [(45, "45 min"), (81, "1 h 21 min"), (120, "2 h"), (None, None)])
def test_a_card_says_how_long_the_film_is(tmp_path, minutes, said):
    folder = publish(tmp_path, movies=[*MOVIES[:4], (*MOVIES[4], "movie", minutes), *MOVIES[5:]])
    row = Recommender(folder).recommend([3], 1)[0]
    assert row.movie_id == 5 and (facts(row)[0] == said if said else facts(row)[0].endswith("270 people"))


def test_a_release_from_before_there_were_runtimes_answers_as_ever(warehouse):
    folder = store.release_dir(warehouse)
    tables = {name: pq.read_table(folder / name) for name in ("movies", "neighbours", "popularity")}
    tables["movies"] = tables["movies"].drop_columns([column.name for column in schemas.IMDB[1:]])
    old = Recommender(folder, ranking.in_memory(tables, popularity_weight=0.0))
    assert old.recommend([1, 3]) == Recommender(folder).recommend([1, 3])
