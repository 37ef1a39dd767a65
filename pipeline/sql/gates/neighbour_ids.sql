-- Does a list hold its own movie, a movie twice, an unknown movie, or one with less than the minimum support?
-- Variable: min_support int. One row per offending pair: problem.
select format('neighbour {} of movie {} stands {} times', neighbour_id, movie_id, count(*)) as problem
from neighbours
group by movie_id, neighbour_id
having count(*) > 1
    or movie_id = neighbour_id
    or movie_id not in (select movie_id from movies)
    or neighbour_id not in (select movie_id from movies where n_ratings >= getvariable('min_support'));
