-- Which movie does this text mean?
-- text string: a title as people type it: typos, missing articles and accents, a year in or without parentheses.
-- k: at most so many.
-- One row per rank: rank (1 is best), movie_id, title, year, genres, n_ratings, match. match is 1 for the
-- whole name, 0.98 for the name but for its article, 0.9 where the name begins with the text, 0.85 where a
-- later word does, 0.8 where every word of the text begins a word of the name, below that 0.9 times the
-- similarity in letters; movies under 0.6 do not appear. Equal matches: better-known movies first.
create or replace macro search_movies(text, k := 10) as table
with
-- a text that ends in a year is tried both ways: "heat 1995" is a movie and its year, "blade runner 2049" a name
attempt as (
    select text::varchar as name, null as year
    union all
    select
        regexp_replace(text, '\(?\b(?:18|19|20)\d\d\)?\s*$', ''),
        try_cast(regexp_extract(text, '\b((?:18|19|20)\d\d)\)?\s*$', 1) as int)
    where regexp_matches(text, '\b(?:18|19|20)\d\d\)?\s*$')
),
reading as (
    select
        search_words(name) as words, search_key(search_words(name)) as key, length(search_key(search_words(name))) as n,
        year
    from attempt
    where search_words(name) != ''
),
matched as (
    select
        names.movie_id,
        max(case
            when names.words = reading.words then 1.0
            when names.key = reading.key then 0.98
            when starts_with(names.key, reading.key) or starts_with(names.words, reading.words) then 0.9
            when contains(names.key, ' ' || reading.key) then 0.85
            when list_bool_and(list_transform(
                string_split(reading.key, ' '), lambda word: contains(' ' || names.key, ' ' || word))) then 0.8
            -- Edit distances are dear: only names that share enough letters are worth one.
            when jaro_winkler_similarity(left(names.key, n + 1), reading.key) < 0.75 then 0.0
            else 0.9 * greatest(
                1 - damerau_levenshtein(names.key, reading.key) / greatest(length(names.key), n),
                -- a name that goes on after the text, typed with a typo
                0.85 * (1 - damerau_levenshtein(left(names.key, n), reading.key) / n)
            )
        end) as match
    from search_names as names
    join reading on reading.year is null or exists (
        select 1 from movies where movies.movie_id = names.movie_id and movies.year = reading.year)
    group by names.movie_id
),
final as (
    select
        row_number() over (order by round(match, 2) desc, n_ratings desc, movie_id) as rank,
        movie_id, title, year, genres, n_ratings, round(match, 2) as match
    from matched join movies using (movie_id)
    where match >= 0.6
    qualify rank <= k
    order by rank
)
from final;
