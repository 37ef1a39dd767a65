-- Which titles rose and fell the most, by the number of lists that have them in the first ten?
-- Parameter: n, titles of either kind. Rows, the greatest rise first: movie_id, title, year, n_before, n_after.
with
old_places as (select neighbour_id as movie_id, count(*) as n from before.neighbours where rank <= 10 group by all),
new_places as (select neighbour_id as movie_id, count(*) as n from after.neighbours where rank <= 10 group by all),
moved as (
    select
        movie_id, title, year, coalesce(old_places.n, 0) as n_before, coalesce(new_places.n, 0) as n_after,
        n_after - n_before as rise
    from new_places
    full join old_places using (movie_id)
    join (select movie_id, title, after.movies.year from after.movies join before.movies using (movie_id, title))
        using (movie_id)
)
select movie_id, title, year, n_before, n_after
from moved
where rise <> 0
qualify row_number() over (partition by rise > 0 order by abs(rise) desc, movie_id) <= $n
order by rise desc, movie_id;
