-- Does a list hold its own movie, a movie twice, an unknown movie, or one with less than the minimum support?
-- Variable: min_support int. One row per offending pair: problem.
select format('neighbour {} of movie {} stands {} times', neighbour_id, n.movie_id, count(*)) as problem
from neighbours as n
left join movies as owner on owner.movie_id = n.movie_id
left join movies as neighbour on neighbour.movie_id = n.neighbour_id
group by n.movie_id, neighbour_id
having count(*) > 1
    or n.movie_id = neighbour_id
    or any_value(owner.movie_id) is null
    or any_value(neighbour.movie_id) is null
    or any_value(neighbour.n_ratings) < getvariable('min_support');
