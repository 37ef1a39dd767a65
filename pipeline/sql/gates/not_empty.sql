-- Is a table empty that must not be?
-- One row per empty table: problem.
select format('{} is empty', name) as problem
from (
    select 'movies' as name, count(*) as n_rows from movies
    union all select 'item_factors', count(*) from item_factors
    union all select 'neighbours', count(*) from neighbours
    union all select 'popularity', count(*) from popularity
)
where n_rows = 0;
