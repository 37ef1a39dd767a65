-- Where are the best-known titles on the map, and how are they coloured?
-- Parameter: number of genres that have a colour of their own, int.
-- One row per movie on the map, better-known first: movie_id, title, year, genres, n_ratings, x, y, genre.
--   genre  the first of the movie's genres, where it is one of those that come first most often, else 'other'
with
placed as (
    select movie_id, title, year, genres, n_ratings, x, y, genres[1] as first_genre
    from catalogue_map join movies using (movie_id)
),
common as (
    select first_genre
    from placed
    where first_genre is not null
    group by first_genre
    order by count(*) desc, first_genre
    limit ?
),
final as (
    select
        movie_id, title, year, genres, n_ratings, x, y,
        if(first_genre in (from common), first_genre, 'other') as genre
    from placed
    order by n_ratings desc, movie_id
)
from final;
