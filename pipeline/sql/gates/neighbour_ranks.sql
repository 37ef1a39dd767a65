-- Does a list have holes or repeats in its ranks, more than k entries, or a rank that its similarity does not earn?
-- One row per entry that does not follow from the one before it in order of movie_id, rank: problem.
with
-- Without an order, lag() sees the rows as they lie, which is the order they are stored in: no sort of all pairs.
-- In any order of rows: every row must follow from another.
followed as (
    select
        *,
        lag(movie_id) over () as last_movie_id, lag(rank) over () as last_rank,
        lag(similarity) over () as last_similarity, lag(neighbour_id) over () as last_neighbour_id
    from neighbours
)
select format('list of movie {}: rank {} of movie {} does not follow', movie_id, rank, neighbour_id) as problem
from followed
where not coalesce(
    rank <= bound('k')
    and if(
        movie_id = last_movie_id,
        rank = last_rank + 1
        and (last_similarity > similarity or (last_similarity = similarity and last_neighbour_id < neighbour_id)),
        rank = 1 and (last_movie_id is null or last_movie_id < movie_id)
    ),
    false
);
