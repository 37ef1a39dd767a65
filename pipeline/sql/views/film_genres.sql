-- Which genres has each movie, one in a row?
create or replace view film_genres as
select movie_id, title, year, unnest(genres) as genre, n_ratings, mean_rating
from movies;
