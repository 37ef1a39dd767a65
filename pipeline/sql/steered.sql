-- Which movies come first for these favourites, the way a visitor steers?
-- favourites int[], k int: see recommend.sql. dislikes, exclude int[]: see candidates.sql.
-- genres, without_genres, from_year, to_year: see eligible.sql; where a filter leaves too few candidates, all that it
--   leaves follow as tier 4, those with the most ratings (their score) first.
-- hidden double, -1 to 1: above 0 little-known titles win, below 0 well-known ones: scores are divided by the number
--   of ratings to the power of hidden.
-- variety double, 0 to 1: how much what is like the titles above it loses, see pick below.
-- surprise int: 0, or the seed of a draw: scores are multiplied by exp(g / 3), g from the Gumbel distribution, which
--   makes the list a sample with chances by score cubed.
-- One row per movie, at most k: position (1 is best), movie_id, tier, score (as if nobody had steered but by dislikes),
--   reasons (see candidates.sql).
create or replace macro steered(
    favourites, k := 10, dislikes := [], exclude := [], genres := [], without_genres := [], from_year := null,
    to_year := null, hidden := 0.0, variety := 0.0, surprise := 0
) as table
with recursive
fitting as (
    from eligible(
        genres := genres, without_genres := without_genres, from_year := from_year, to_year := to_year)
),
candidate as (
    select movie_id, tier, score, reasons, n_ratings
    from candidates([favourites], dislikes := dislikes, exclude := exclude) join fitting using (movie_id)
    union all
    select movie_id, 4, n_ratings, null, n_ratings
    from fitting
    where
        (len(genres) > 0 or len(without_genres) > 0 or from_year is not null or to_year is not null)
        and not list_contains(favourites::int[], movie_id)
        and not list_contains(dislikes::int[], movie_id)
        and not list_contains(exclude::int[], movie_id)
),
weighed as (
    select
        movie_id, min(tier) as tier, arg_min(score, tier) as score, arg_min_null(reasons, tier) as reasons,
        arg_min(score, tier) * (1 + any_value(n_ratings)) ** -hidden
        -- a number in (0, 1) that depends on seed and movie alone
        * if(surprise = 0, 1, (-ln((hash(movie_id, surprise::int) % 1000003 + 0.5) / 1000003)) ** (-1 / 3)) as weight
    from candidate
    group by movie_id
),
shortlist as (
    select *, row_number() over (order by tier, weight desc, movie_id) as place, weight / max(weight) over () as relevance
    from weighed
    -- up to 50 movies on the other side of a join DuckDB reads only their lists, not all
    qualify place <= if(variety > 0, 4 * k, k)
),
-- How alike are two titles on the shortlist? Their similarity in units of the best one on its list.
alike as (
    select picked_id, movie_id, likeness
    from (
        select
            neighbours.movie_id as picked_id, neighbour_id as movie_id,
            similarity / max(similarity) over (partition by neighbours.movie_id) as likeness
        from neighbours join shortlist on shortlist.movie_id = neighbours.movie_id
        where variety > 0
    )
    join shortlist using (movie_id)
),
-- Maximal marginal relevance (Carbonell and Goldstein 1998): the next title is the one with the largest
-- (1 - variety) * relevance - variety * likeness to the nearest of those picked before.
pick as (
    select 1 as step, movie_id, tier, relevance, 0.0::double as likeness, place = 1 as picked
    from shortlist
    union all
    select
        step + 1, movie_id, tier, relevance, likeness,
        row_number() over (
            order by tier, (1 - variety) * relevance - variety * likeness desc, movie_id) = 1
    from (
        select
            rest.step, rest.movie_id, rest.tier, rest.relevance,
            greatest(rest.likeness, coalesce(alike.likeness, 0)) as likeness
        from pick as rest
        join (select movie_id as picked_id from pick where picked) as last on true
        left join alike on alike.picked_id = last.picked_id and alike.movie_id = rest.movie_id
        where not rest.picked and rest.step < if(variety > 0, k, 1)
    )
),
final as (
    select
        row_number() over (order by step nulls last, place) as position,
        movie_id, tier, score, reasons
    from shortlist
    left join (select movie_id, step from pick where picked) using (movie_id)
    qualify position <= k
)
from final;
