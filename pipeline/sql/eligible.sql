-- Which movies does this filter leave?
-- genres string[]: at least one of them, [] for any. without_genres string[]: none of them.
-- from_year, to_year int: span of years, both included, null for open; a movie without a year is in no span.
-- One row per movie: movie_id, n_ratings.
create or replace macro eligible(genres := [], without_genres := [], from_year := null, to_year := null) as table
select movie_id, n_ratings
from movies
where
    (len(genres) = 0 or list_has_any(movies.genres, genres::varchar[]))
    and not list_has_any(movies.genres, without_genres::varchar[])
    and (from_year is null or year >= from_year)
    and (to_year is null or year <= to_year);
