-- What do the lists of these requests' favourites say? The one definition of a score by neighbours.
-- requests int[][]: favourites (movie ids) of each request; ids that the catalogue does not know are passed over.
-- dislikes int[]: movies whose similarities are subtracted, in all requests.
-- One row per request, movie that is on a list or popular with everyone, favourites among them:
--   request     position in requests, from 1
--   movie_id
--   score       sum of the similarities on the favourites' lists, less those on the lists of dislikes, and of
--               popularity_weight() times popularity
--   popularity  score of the movie in popularity for the whole catalogue; null if it is not there
--   reasons     favourites on whose list the movie is, {favourite_id, weight: similarity}; null when on none
create or replace macro listed(requests, dislikes := []) as table
with
request as (
    select unnest(range(1, len(requests) + 1)) as request, unnest(requests::int[][]) as favourites
),
named as (
    select request, unnest(list_distinct(favourites)) as movie_id, 1 as sign
    from request
    union all
    select request, unnest(list_distinct(dislikes::int[])), -1
    from request
),
voice as (
    select
        request, neighbour_id as movie_id, if(sign > 0, movie_id, null) as favourite_id,
        sign * similarity::double as similarity, null::double as popularity
    from neighbours join named using (movie_id)
    union all
    select request, movie_id, null, null, score
    from popularity cross join request
    where genre = '*'
),
final as (
    select
        request, movie_id,
        coalesce(sum(similarity), 0) + popularity_weight() * coalesce(max(popularity), 0) as score,
        max(popularity) as popularity,
        list({favourite_id: favourite_id, weight: similarity}) filter (favourite_id is not null) as reasons
    from voice
    group by request, movie_id
)
from final;
