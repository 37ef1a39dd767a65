-- Does a list hold its own movie, a movie twice, an unknown movie, or one with less than the minimum support?
-- One row per offending pair or movie: problem.
select format('neighbour {} of movie {} appears {} times', neighbour_id, movie_id, count(*)) as problem
from neighbours
group by movie_id, neighbour_id
having count(*) > 1
union all
select format('movie {} is a neighbour of its own', movie_id)
from neighbours
where movie_id = neighbour_id
union all
select format('list of movie {}, which is unknown', movie_id)
from neighbours
where rank = 1  -- neighbour_ranks.sql: every list has a first entry
    and (movie_id is null or movie_id not in (select movie_id from movies where movie_id is not null))
union all
select format('neighbour {} is unknown or has less than the minimum support', neighbour_id)
from (select distinct neighbour_id from neighbours)
where neighbour_id is null or neighbour_id not in (
    select movie_id from movies where movie_id is not null and n_ratings >= bound('min_support'));
