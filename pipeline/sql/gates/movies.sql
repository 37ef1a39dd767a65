-- Does a movie lack its key, title, genres, item_id or support, appear twice, or have a mean that is no finite number?
-- One row per offending movie_id or item_id: problem.
select
    format('movie {} appears {} times, {} with a title, {} with a support, means {}', movie_id, count(*), count(title),
        count(n_ratings), list(mean_rating)) as problem
from movies
group by movie_id
having count(*) > 1 or count(title) < count(*) or movie_id is null
    or bool_or(n_ratings is null or n_ratings < 0 or not coalesce(isfinite(mean_rating), true))
    or bool_or(genres is null or len(list_filter(genres, lambda genre: genre is null)) > 0)
union all
select format('item_id {} appears {} times', coalesce(item_id, 'null'), count(*))
from movies
group by item_id
having count(*) > 1 or item_id is null;
