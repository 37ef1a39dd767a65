-- Which films go with one whose title I half remember?
with
typed as (
    select movie_id from search_movies('the matrx', k := 1)
)
select rank, title, year, genres, round(similarity, 2) as similarity
from neighbours
join movies on movies.movie_id = neighbours.neighbour_id
where neighbours.movie_id = (select movie_id from typed)
order by rank
limit 20;
