-- Does a movie lack its key or title, or stand twice in the catalogue?
-- One row per offending movie_id: problem.
select format('movie {} stands {} times, {} without a title', movie_id, count(*), count(*) - count(title)) as problem
from movies
group by movie_id
having count(*) > 1 or count(title) < count(*) or movie_id is null;
