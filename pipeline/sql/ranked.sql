-- Which movies come first for each of these requests, when nobody steers? Evaluation asks so, many requests at once.
-- requests int[][]: see candidates.sql. k int: length of each list.
-- One row per request, movie: the columns of candidates.sql; at most k per request.
create or replace macro ranked(requests, k := 10) as table
from candidates(requests)
qualify row_number() over (partition by request order by tier, score desc, movie_id) <= k;
