-- How much of the first ten of each list stayed?
-- before, after: the tables of two releases. A title is the same where movie_id and title are. Makes the table kept,
-- one row per title with a list in both: movie_id, overlap (0 to 1, of the longer ten).
create or replace temp table kept as
with
same as (select movie_id from after.movies join before.movies using (movie_id, title)),
old_ten as (select movie_id, neighbour_id from before.neighbours where rank <= 10),
new_ten as (select movie_id, neighbour_id from after.neighbours where rank <= 10),
shared as (
    select movie_id, count(*) as n_kept
    from new_ten
    join old_ten using (movie_id, neighbour_id)
    where neighbour_id in (select movie_id from same)
    group by movie_id
),
lengths as (
    select movie_id, greatest(old_lengths.n, new_lengths.n) as n_places
    from (select movie_id, count(*) as n from new_ten group by movie_id) as new_lengths
    join (select movie_id, count(*) as n from old_ten group by movie_id) as old_lengths using (movie_id)
    where movie_id in (select movie_id from same)
)
select movie_id, coalesce(n_kept, 0) / n_places as overlap
from lengths
left join shared using (movie_id);
