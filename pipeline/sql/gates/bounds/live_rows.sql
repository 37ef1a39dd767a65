-- Is more than gates.max_row_loss of what the live release of the same data has gone?
-- live: the live release's database, attached. One row per thing that shrank: problem.
select format('{} {} where the live release has {}', n, what, n_live) as problem
from (
    select 'movies' as what, (select count(*) from movies) as n, (select count(*) from live.movies) as n_live
    union all
    select 'ratings', (select sum(n_ratings) from movies), (select sum(n_ratings) from live.movies)
    union all
    select
        'lists', (select count(distinct movie_id) from neighbours), (select count(distinct movie_id) from live.neighbours)
)
where n < (1 - bound('max_row_loss')) * n_live;
