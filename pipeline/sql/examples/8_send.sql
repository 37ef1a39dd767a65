-- Whom does Toy Story send people to, and do they send them back?
with
typed as (
    select movie_id from search_movies('toy story', k := 1)
)
select
    there.rank, there.neighbour_title as film, there.neighbour_year as year,
    round(there.similarity, 3) as similarity, back.rank as rank_back
from typed
join lists as there using (movie_id)
left join neighbours as back on back.movie_id = there.neighbour_id and back.neighbour_id = there.movie_id
order by there.rank
limit 20;
