-- Is a similarity outside -1 to 1, or a weight no finite number?
-- One row per offending pair: problem.
select format('movies {} and {}: similarity {}, weight {}', movie_id, neighbour_id, similarity, weight) as problem
from neighbours
where similarity not between -1 and 1 or weight is null or not isfinite(weight);
