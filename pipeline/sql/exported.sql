-- Which lists go into an export, with titles?
-- ? int, ? int: the first and the last movie_id. ? int: at most so many neighbours each.
-- One row per movie that has a list: movie_id, item_id, title, year, neighbours, best first: {movie_id, item_id, title,
-- year, similarity, weight}.
select
    movie_id, any_value(movies.item_id) as item_id, any_value(movies.title) as title, any_value(movies.year) as year,
    list({
        movie_id: neighbour_id, item_id: neighbour.item_id, title: neighbour.title, year: neighbour.year,
        similarity: similarity, weight: weight
    } order by rank) as neighbours
from neighbours
join movies using (movie_id)
join movies as neighbour on neighbour.movie_id = neighbour_id
where movie_id between ?::int and ?::int and rank <= ?::int
group by movie_id
order by movie_id;
