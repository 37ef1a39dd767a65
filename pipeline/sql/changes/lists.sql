-- Which lists changed the most? Of equally changed ones, those of the best-known titles.
-- kept: see kept.sql. Parameter: n. Rows: movie_id, title, year, overlap (0 to 1).
select movie_id, title, year, overlap
from kept
join after.movies using (movie_id)
where overlap < 1
order by overlap, n_ratings desc, movie_id
limit $n;
