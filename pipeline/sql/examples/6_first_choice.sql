-- Which two films are each other's first choice?
with
first as (
    from neighbours where rank = 1
)
select
    one.title, one.year, other.title as and_its_first, other.year as its_year,
    round(there.similarity, 2) as similarity
from first as there
join first as back
    on back.movie_id = there.neighbour_id and back.neighbour_id = there.movie_id
join movies as one on one.movie_id = there.movie_id
join movies as other on other.movie_id = there.neighbour_id
where there.movie_id < there.neighbour_id
order by there.similarity desc, one.title
limit 20;
