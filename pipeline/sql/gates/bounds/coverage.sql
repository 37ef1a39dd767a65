-- Do fewer than gates.min_coverage of the titles that may be recommended stand on any list?
-- Variables: min_support int, min_coverage double. One row when they do: problem.
select format('{} of {} titles, {:.3f}', n_listed, n_titles, n_listed / n_titles) as problem
from (
    select
        (select count(distinct neighbour_id) from neighbours) as n_listed,
        (select count(*) from movies where n_ratings >= getvariable('min_support')) as n_titles
)
where n_listed < getvariable('min_coverage') * n_titles;
