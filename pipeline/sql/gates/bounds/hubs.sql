-- Do the most listed hundredth of the titles take more than gates.max_hub_share of all places on the lists?
-- Asked where at least 100 titles are listed. One row when they do: problem.
with
listed as (
    select neighbour_id, count(*) as n, row_number() over (order by count(*) desc, neighbour_id) as place
    from neighbours
    group by neighbour_id
),
share as (
    select count(*) as n_listed, sum(n) filter (place <= (select count(*) / 100 from listed)) / sum(n) as taken
    from listed
)
select format('{:.3f} of all places', taken) as problem
from share
where n_listed >= 100 and taken > bound('max_hub_share');
