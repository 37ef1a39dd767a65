-- Which films are on the lists of just those films that are on their own?
with
mutual as (
    select movie_id from mutual_pairs
    union all
    select neighbour_id from mutual_pairs
),
circle as (
    select movie_id, count(*) as mutual
    from mutual
    group by movie_id
)
select
    title, year, n_ratings, list_length, on_lists, mutual,
    round(mutual / (list_length + on_lists - mutual), 2) as overlap
from circle
join hubs using (movie_id)
order by overlap desc, n_ratings desc, title
limit 20;
