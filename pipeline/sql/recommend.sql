-- Which movies go with these favourites, and why?
-- favourites int[]: movie ids; ids that the catalogue does not know are passed over. k: length of the list.
-- One row per rank: rank (1 is best), movie_id, title, year, genres, score, because, source.
--   score    see ranked.sql; comparable within one source
--   because  favourites that brought the movie, {movie_id, title, share} with the largest share first;
--            shares sum to 1; empty when no favourite did
--   source   'neighbours'; 'popularity': liked by many, on no favourite's list; and, where lists are missing or
--            short, 'genre popularity': the movies most liked in the favourites' genres
create or replace macro recommend(favourites, k := 10) as table
with
chosen as (
    from ranked([favourites], k := k)
),
contribution as (
    select neighbour_id as movie_id, movie_id as favourite_id, similarity::double as weight
    from neighbours semi join chosen on chosen.movie_id = neighbours.neighbour_id and tier = 1
    where neighbours.movie_id = any(favourites::int[])
    union all
    select popularity.movie_id, liked.movie_id, sum(score::double)
    from (select movie_id, unnest(genres) as genre from movies where movie_id = any(favourites::int[])) as liked
    join popularity using (genre)
    semi join chosen on chosen.movie_id = popularity.movie_id and tier = 2
    group by popularity.movie_id, liked.movie_id
),
reason as (
    select
        contribution.movie_id,
        list(
            {movie_id: favourite_id, title: title, share: weight / total} order by weight desc, favourite_id
        ) as because
    from contribution
    join (select movie_id, sum(weight) as total from contribution where weight > 0 group by movie_id) as positive
        on positive.movie_id = contribution.movie_id
    join movies on movies.movie_id = favourite_id
    where weight > 0
    group by contribution.movie_id
),
final as (
    select
        row_number() over (order by tier, score desc, movie_id) as rank,
        movie_id, title, year, genres, score,
        coalesce(because, []) as because,
        -- what no favourite brought came by the weight of popularity alone
        if(because is null, 'popularity', ['neighbours', 'genre popularity', 'popularity'][tier]) as source
    from chosen
    join movies using (movie_id)
    left join reason using (movie_id)
    order by rank
)
from final;
