-- Which movies are the most liked, of all and of each genre, by title?
create or replace view popular as
select genre, rank, movie_id, title, year, score
from popularity
join movies using (movie_id);
