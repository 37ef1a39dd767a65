-- Are there item factors of unknown or repeated movies, of the wrong length, or that are no finite numbers?
-- One row per offending movie_id: problem.
select format('factors of movie {}: {} rows, lengths {}', movie_id, count(*), list(len(factors))) as problem
from item_factors
group by movie_id
having count(*) > 1
    or bool_or(coalesce(len(factors), -1) != bound('als_rank'))
    or bool_or(len(list_filter(factors, lambda f: f is null or not isfinite(f))) > 0)
    or movie_id is null
    or movie_id not in (select movie_id from movies where movie_id is not null);
