-- Does the map hold an unknown movie, a movie twice, or a place that is no finite number?
-- One row per offending movie_id: problem.
select format('movie {} is {} times on the map, at {}', movie_id, count(*), list([x, y])) as problem
from catalogue_map
group by movie_id
having count(*) > 1
    or bool_or(x is null or y is null or not isfinite(x) or not isfinite(y))
    or movie_id is null
    or movie_id not in (select movie_id from movies where movie_id is not null);
