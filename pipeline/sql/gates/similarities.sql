-- Is a similarity no finite number?
-- One row per offending pair: problem.
select format('similarity of movies {} and {} is {}', movie_id, neighbour_id, similarity) as problem
from neighbours
where similarity is null or not isfinite(similarity);
