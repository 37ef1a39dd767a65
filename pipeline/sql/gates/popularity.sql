-- Does a genre's list lack its genre, have holes in its ranks, an unknown movie, or a score outside 0 to 1?
-- One row per offending genre: problem.
select format('popularity of {}: {} rows, ranks {} to {}', genre, count(*), min(rank), max(rank)) as problem
from popularity
group by genre
having genre is null
    or min(rank) != 1
    or max(rank) != count(*)
    or count(distinct rank) != count(*)
    or count(distinct movie_id) != count(*)
    or bool_or(movie_id not in (select movie_id from movies))
    or bool_or(score is null or score not between 0 and 1);
