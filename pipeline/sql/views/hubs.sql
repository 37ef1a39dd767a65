-- On how many lists is each movie, and how long is its own?
create or replace view hubs as
with
listed as (
    select neighbour_id as movie_id, count(*) as on_lists, count(*) filter (rank = 1) as at_the_top
    from neighbours
    group by neighbour_id
),
own as (
    select movie_id, count(*) as list_length
    from neighbours
    group by movie_id
)
select
    movie_id, title, year, n_ratings,
    coalesce(on_lists, 0) as on_lists, coalesce(at_the_top, 0) as at_the_top, coalesce(list_length, 0) as list_length
from movies
left join listed using (movie_id)
left join own using (movie_id);
