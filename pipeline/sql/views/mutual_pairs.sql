-- Which two movies are on each other's list?
create or replace view mutual_pairs as
select
    there.movie_id, there.title, there.year, there.rank,
    there.neighbour_id, there.neighbour_title, there.neighbour_year, back.rank as rank_back, there.similarity
from lists as there
join neighbours as back on back.movie_id = there.neighbour_id and back.neighbour_id = there.movie_id
where there.movie_id < there.neighbour_id;
