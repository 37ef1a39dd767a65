-- How alike are the lists of two releases, and how many titles came and went?
-- kept: see kept.sql. One row: n_lists, overlap (mean, 0 to 1; null without lists), n_new, n_gone.
select
    count(*) as n_lists,
    avg(overlap) as overlap,
    (select count(*) from after.movies anti join before.movies using (movie_id, title)) as n_new,
    (select count(*) from before.movies anti join after.movies using (movie_id, title)) as n_gone
from kept;
