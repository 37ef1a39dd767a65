-- Which movies go with these favourites?
-- favourites int[]: movie ids; ids that the catalogue does not know are passed over. k: length of the list.
-- One row per rank: rank (1 is best), movie_id, title, year, genres, score, because, source.
--   score    comparable within one source: 'neighbours' sums similarities, the others are shares of popularity
--   because  favourites that brought the movie, {movie_id, title, share} with the largest share first;
--            shares sum to 1; empty when no favourite did
--   source   'neighbours'; then, where lists are missing or short, 'genre popularity' (the movies most liked
--            in the favourites' genres) and 'popularity' (in the whole catalogue)
create or replace macro recommend(favourites, k := 10) as table
with
contribution as (
    select neighbour_id as movie_id, movie_id as favourite_id, similarity::double as weight, 1 as tier
    from neighbours
    where movie_id = any(favourites::int[]) and not list_contains(favourites::int[], neighbour_id)
),
by_neighbours as (
    select movie_id
    from contribution
    group by movie_id
    having sum(weight) > 0
    order by sum(weight) desc, movie_id
    limit k
),
favourite_genre as (
    select movie_id as favourite_id, unnest(genres) as genre
    from movies
    where movie_id = any(favourites::int[]) and (select count(*) from by_neighbours) < k
),
genre_contribution as (
    select popularity.movie_id, favourite_id, score::double as weight, 2 as tier
    from favourite_genre join popularity using (genre)
    where not list_contains(favourites::int[], popularity.movie_id)
      and popularity.movie_id not in (from by_neighbours)
),
everyone_contribution as (
    select movie_id, null as favourite_id, score::double as weight, 3 as tier
    from popularity
    where genre = '*'
      and not list_contains(favourites::int[], movie_id)
      and movie_id not in (from by_neighbours)
      and movie_id not in (select movie_id from genre_contribution)
      and (select count(*) from by_neighbours) < k
),
share as (
    select tier, movie_id, favourite_id, sum(weight) as weight
    from (
        from contribution where movie_id in (from by_neighbours)
        union all from genre_contribution
        union all from everyone_contribution
    )
    group by tier, movie_id, favourite_id
),
scored as (
    select tier, movie_id, sum(weight) as score, sum(weight) filter (weight > 0) as positive
    from share
    group by tier, movie_id
    order by tier, score desc, movie_id
    limit k
),
reason as (
    select
        share.movie_id,
        list(
            {movie_id: favourite_id, title: favourite.title, share: share.weight / scored.positive}
            order by share.weight desc, favourite_id
        ) as because
    from share
    join scored on scored.movie_id = share.movie_id
    join movies as favourite on favourite.movie_id = share.favourite_id
    where share.weight > 0
    group by share.movie_id
),
final as (
    select
        row_number() over (order by tier, score desc, movie_id) as rank,
        movie_id, title, year, genres, score,
        coalesce(because, []) as because,
        ['neighbours', 'genre popularity', 'popularity'][tier] as source
    from scored
    join movies using (movie_id)
    left join reason using (movie_id)
    order by rank
)
from final;
