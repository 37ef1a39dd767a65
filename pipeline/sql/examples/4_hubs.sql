-- Which films are on the most lists?
select
    title, year, n_ratings, count(*) as lists,
    count(*) filter (where rank = 1) as at_the_top
from neighbours
join movies on movies.movie_id = neighbours.neighbour_id
group by all
order by lists desc, title
limit 20;
