-- Which movies come first for each of these requests? The one definition of the ranking.
-- requests int[][]: favourites (movie ids) of each request; ids that the catalogue does not know are passed over.
-- k int: length of each list.
-- One row per request, movie: request (position in requests, from 1), movie_id, tier, score; at most k per request.
--   tier 1  score is the sum of the similarities on the favourites' lists, and of popularity_weight() times the
--           movie's popularity; positive
--   tier 2  fills up lists that are too short: summed popularity in the genres of the favourites
--   tier 3  after that: popularity in the whole catalogue
create or replace macro ranked(requests, k := 10) as table
with
request as (
    select unnest(range(1, len(requests) + 1)) as request, unnest(requests::int[][]) as favourites
),
favourite as (
    select distinct request, unnest(favourites) as favourite_id
    from request
),
similar_to_favourite as (
    select request, neighbour_id as movie_id, similarity::double as score
    from neighbours join favourite on favourite.favourite_id = neighbours.movie_id
    where neighbours.movie_id = any(flatten(requests::int[][]))
),
by_neighbours as (
    select request, movie_id, 1 as tier, sum(score) as score
    from (
        from similar_to_favourite
        union all
        select request, movie_id, popularity_weight() * score
        from (select distinct request from similar_to_favourite) cross join popularity
        where genre = '*' and popularity_weight() > 0
    )
    group by request, movie_id
    having sum(score) > 0
),
by_genre as (
    select request, popularity.movie_id, 2 as tier, sum(score::double) as score
    from favourite
    join (select movie_id, unnest(genres) as genre from movies where movie_id = any(flatten(requests::int[][]))) as liked
        on liked.movie_id = favourite.favourite_id
    join popularity using (genre)
    group by request, popularity.movie_id
),
by_everyone as (
    select request, movie_id, 3 as tier, score::double as score
    from request cross join popularity
    where genre = '*'
),
final as (
    select request, movie_id, min(tier) as tier, arg_min(score, tier) as score
    from (from by_neighbours union all from by_genre union all from by_everyone)
    where (request, movie_id) not in (select (request, favourite_id) from favourite)
    group by request, movie_id
    qualify row_number() over (partition by request order by min(tier), arg_min(score, tier) desc, movie_id) <= k
)
from final;
