-- Is a table empty that must not be, or the list of the whole catalogue's popular titles, '*'?
-- One row per empty table: problem.
select format('{} is empty', name) as problem
from (
    select 'movies' as name, count(*) as n_rows from movies
    union all select 'item_factors', count(*) from item_factors
    union all select 'neighbours', count(*) from neighbours
    union all select 'popularity of *', count(*) from popularity where genre = '*'
)
where n_rows = 0;
