-- Which movies are on this movie's own list?
-- movie int: a movie id. k: at most so many.
-- One row per rank: rank (1 is best), movie_id, title, year, genres, similarity, item_id.
-- Empty when it has no list.
create or replace macro "similar"(movie, k := 10) as table
select rank, neighbour_id as movie_id, title, year, genres, similarity, item_id
from neighbours join movies on movies.movie_id = neighbours.neighbour_id
where neighbours.movie_id = movie and rank <= k
order by rank;
