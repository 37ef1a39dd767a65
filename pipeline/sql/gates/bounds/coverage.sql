-- Do fewer than gates.min_coverage of the titles that may be recommended on any list?
-- One row when they do: problem.
select format('{} of {} titles, {:.3f}', n_listed, n_titles, n_listed / n_titles) as problem
from (
    select
        (select count(distinct neighbour_id) from neighbours) as n_listed,
        (select count(*) from movies where n_ratings >= bound('min_support')) as n_titles
)
where n_listed < bound('min_coverage') * n_titles;
