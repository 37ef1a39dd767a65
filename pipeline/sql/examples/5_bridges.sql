-- Which horror films lead to children's films?
with
horror as (
    from movies
    where list_contains(genres, 'Horror')
        and not list_contains(genres, 'Children') and n_ratings >= 20
),
child as (
    from movies
    where list_contains(genres, 'Children')
        and not list_contains(genres, 'Horror')
),
bridge as (
    select
        horror.title as horror, horror.year, horror.n_ratings,
        child.title as children, child.year as its_year, rank
    from neighbours
    join horror using (movie_id)
    join child on child.movie_id = neighbour_id
    qualify row_number() over (partition by horror.movie_id order by rank) = 1
)
select horror, year, children, its_year, rank
from bridge
order by rank, n_ratings desc, horror
limit 20;
