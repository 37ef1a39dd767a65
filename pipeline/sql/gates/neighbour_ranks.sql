-- Does a list have holes or repeats in its ranks, more than k entries, or a rank that its similarity does not earn?
-- Variable: k int. One row per offending list: problem.
with
ordered as (
    select
        movie_id, neighbour_id, rank,
        row_number() over (partition by movie_id order by similarity desc, neighbour_id) as earned
    from neighbours
)
select format('list of movie {}: {} entries, ranks {} to {}', movie_id, count(*), min(rank), max(rank)) as problem
from ordered
group by movie_id
having count(*) > getvariable('k') or bool_or(rank is distinct from earned);
