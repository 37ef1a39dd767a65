-- Which movies could answer these requests, and how well? The one definition of the ranking.
-- requests int[][]: favourites (movie ids) of each request; ids that the catalogue does not know are passed over.
-- dislikes int[]: movies whose lists count against the movies on them, in all requests; they are no candidates.
-- exclude int[]: movies that are no candidates, in all requests. They change nothing else.
-- One row per request, movie: request (position in requests, from 1), movie_id, tier, score, reasons.
--   tier 1   score by neighbours, see listed.sql; positive. Only where a favourite has a list
--   tier 2   fills up lists that are too short: summed popularity in the genres of the favourites
--   tier 3   after that: popularity in the whole catalogue
--   reasons  favourites that brought the movie, {favourite_id, weight: part of the score}, in tier 2 once for each
--            genre; null when none did
create or replace macro candidates(requests, dislikes := [], exclude := []) as table
with
favourite as (
    select request, unnest(list_distinct(favourites)) as favourite_id
    from (select unnest(range(1, len(requests) + 1)) as request, unnest(requests::int[][]) as favourites)
),
by_list as (
    select *, bool_or(reasons is not null) over (partition by request) as has_list
    from listed(requests, dislikes := dislikes)
),
-- distinct for DuckDB 2.0.0 as much as for a genre named twice: where a join of Parquet goes straight into another,
-- it fails at times (dict-surviving join, see github.com/duckdb/duckdb/issues/24807)
liked as (
    select distinct request, favourite_id, unnest(genres) as genre
    from movies join favourite on movie_id = favourite_id
),
by_genre as (
    select
        request, popularity.movie_id, sum(score::double) as score,
        list({favourite_id: favourite_id, weight: score::double}) as reasons
    from liked join popularity using (genre)
    group by request, popularity.movie_id
),
candidate as (
    select request, movie_id, 1 as tier, score, reasons from by_list where has_list and score > 0
    union all
    select request, movie_id, 2, score, reasons from by_genre
    union all
    select request, movie_id, 3, popularity, null from by_list where popularity is not null
),
final as (
    select request, movie_id, min(tier) as tier, arg_min(score, tier) as score, arg_min_null(reasons, tier) as reasons
    from candidate
    where
        (request, movie_id) not in (select (request, favourite_id) from favourite)
        and not list_contains(dislikes::int[], movie_id)
        and not list_contains(exclude::int[], movie_id)
    group by request, movie_id
)
from final;
