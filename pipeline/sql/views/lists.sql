-- Which movies are on which movie's list, by title?
create or replace view lists as
select
    neighbours.movie_id, movies.title, movies.year, rank,
    neighbour_id, neighbour.title as neighbour_title, neighbour.year as neighbour_year, similarity
from neighbours
join movies using (movie_id)
join movies as neighbour on neighbour.movie_id = neighbour_id;
