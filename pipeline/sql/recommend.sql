-- Which movies go with these favourites, and why?
-- favourites int[]: movie ids; ids that the catalogue does not know are passed over. k: length of the list.
-- dislikes, exclude, genres, without_genres, from_year, to_year, hidden, variety, surprise: how a visitor steers, see
-- steered.sql.
-- One row per rank: rank (1 is best), movie_id, title, year, genres, score, because, source,
--   item_id.
--   score    see candidates.sql; comparable within one source
--   because  favourites that brought the movie, {movie_id, title, share} with the largest share first;
--            shares sum to 1; empty when no favourite did
--   source   'neighbours'; 'popularity': liked by many, on no favourite's list; and, where lists are missing or
--            short, 'genre popularity': the movies most liked in the favourites' genres; 'filter': nothing more than
--            that the filter leaves it, score is its number of ratings
create or replace macro recommend(
    favourites, k := 10, dislikes := [], exclude := [], genres := [], without_genres := [], from_year := null,
    to_year := null, hidden := 0.0, variety := 0.0, surprise := 0
) as table
with
chosen as (
    select position as rank, movie_id, tier, score, reasons
    from steered(
        favourites, k := k, dislikes := dislikes, exclude := exclude, genres := genres,
        without_genres := without_genres, from_year := from_year, to_year := to_year, hidden := hidden, variety := variety, surprise := surprise)
),
contribution as (
    select rank, favourite_id, sum(weight) as weight
    from (select rank, unnest(reasons, recursive := true) from chosen)
    where weight > 0
    group by rank, favourite_id
),
reason as (
    select
        rank,
        list(
            {movie_id: favourite_id, title: title, share: weight / total} order by weight desc, favourite_id
        ) as because
    from (select *, sum(weight) over (partition by rank) as total from contribution)
    join movies on movies.movie_id = favourite_id
    group by rank
),
final as (
    select
        rank, movie_id, title, year, movies.genres, score,
        coalesce(because, []) as because,
        -- what no favourite brought came by the weight of popularity alone
        if(because is null and tier = 1, 'popularity', ['neighbours', 'genre popularity', 'popularity', 'filter'][tier])
            as source,
        item_id
    from chosen
    join movies using (movie_id)
    left join reason using (rank)
    order by rank
)
from final;
