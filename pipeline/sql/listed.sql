-- What do the lists of these requests' favourites say? The one definition of a score by neighbours.
-- requests int[][]: favourites (movie ids) of each request; ids that the catalogue does not know are passed over.
-- dislikes int[]: movies whose weights are subtracted, in all requests, at a fifth: gently, so that most of a list stays.
-- One row per request, movie that is on a list or popular, favourites among them:
--   request     position in requests, from 1
--   movie_id
--   score       sum of the weights on the favourites' lists, less a fifth of those on the lists of dislikes, and of
--               popularity_weight() times how popular the movie is in the favourites' genres: the mean of its scores
--               in popularity over all genres of all favourites, or the score for the whole catalogue if these have none
--   popularity  score of the movie in popularity for the whole catalogue; null if it is not there
--   reasons     favourites on whose list the movie is, {favourite_id, weight}; null when on none
create or replace macro listed(requests, dislikes := []) as table
with
request as (
    select unnest(range(1, len(requests) + 1)) as request, unnest(requests::int[][]) as favourites
),
named as (
    select request, unnest(list_distinct(favourites)) as movie_id, 1.0 as voice
    from request
    union all
    select request, unnest(list_distinct(dislikes::int[])), -0.2
    from request
),
liked_genre as (
    select request, genre, count(*) / sum(count(*)) over (partition by request) as share
    from (select request, unnest(list_distinct(genres)) as genre from named join movies using (movie_id) where voice > 0)
    group by request, genre
),
taste as (
    from liked_genre
    union all
    select request, '*', 1 from request where request not in (select request from liked_genre)
),
said as (
    select
        request, neighbour_id as movie_id, if(voice > 0, movie_id, null) as favourite_id,
        voice * weight::double as weight, null::double as taste, null::double as popularity
    from neighbours join named using (movie_id)
    union all
    select request, movie_id, null, null, score * share, null
    from popularity join taste using (genre)
    union all
    select request, movie_id, null, null, null, score
    from popularity cross join request
    where genre = '*'
),
final as (
    select
        request, movie_id,
        coalesce(sum(weight), 0) + popularity_weight() * coalesce(sum(taste), 0) as score,
        max(popularity) as popularity,
        list({favourite_id: favourite_id, weight: weight}) filter (favourite_id is not null) as reasons
    from said
    group by request, movie_id
)
from final;
