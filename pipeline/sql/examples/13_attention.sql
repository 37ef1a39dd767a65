-- How many films take most of the places on all lists?
with
counted as (
    select
        row_number() over places as film, count(*) over () as films,
        sum(on_lists) over places / sum(on_lists) over () as share
    from hubs
    window places as (order by on_lists desc, movie_id rows unbounded preceding)
)
select
    part as share_of_places, min(film) as films_that_take_it,
    round(100 * min(film) / any_value(films), 1) as percent_of_catalogue
from (select unnest([0.1, 0.25, 0.5, 0.75, 0.9, 0.99]) as part)
join counted on share >= part
group by part
order by part;
