-- Which movie does this text mean?
-- text string: a title as people type it: typos, missing articles and accents, a year in or without parentheses.
-- k: at most so many.
-- One row per rank: rank (1 is best), movie_id, title, year, genres, n_ratings, match, item_id. match is 1
-- for the whole name, 0.98 for the name but for its article, 0.95 but for its blanks, 0.9 where the name begins with the
-- text, 0.85 where a later word does, 0.8 where every word of the text begins a word of the name, 0.75 where the name
-- begins with the text but for blanks, else 0.9 times the similarity in letters; movies under 0.6 do not appear. Equal
-- matches, and those from 0.9 to 0.98, since more of a title may be on its way: better-known movies first.
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
worded as (
    select search_words(name) as words, year
    from attempt
),
keyed as (
    select words, search_key(words) as key, year
    from worded
    where words != ''
),
reading as (
    select
        words, key, string_split(key, ' ') as each_word, ' ' || each_word[1] as first_word,
        replace(key, ' ', '') as solid, year
    from keyed
),
-- place: where in a name's key a word begins with the text's first word, 1 for its beginning, 0 for nowhere
placed as (
    select
        names.movie_id, names.n_ratings, names.words, names.key, reading.words as wanted_words, reading.key as wanted,
        each_word, solid, strpos(' ' || names.key, first_word) as place
    from search_names as names
    join reading on reading.year is null or reading.year = names.year
),
by_words as (
    select
        movie_id, n_ratings, wanted, place,
        -- if the first word is in the middle of a name, the rest of the name may continue like the text
        if(place > 1, substr(key, place), key) as part,
        case
            when words = wanted_words then 1.0
            when key = wanted then 0.98
            when starts_with(key, wanted) or starts_with(words, wanted_words) then 0.9
            when place > 0 and contains(key, ' ' || wanted) then 0.85
            -- A lambda is dear: only names with the first of the words are worth one.
            when place > 0 and list_bool_and(list_transform(
                each_word, lambda word: contains(' ' || key, ' ' || word))) then 0.8
            when place = 0 and starts_with(key, left(solid, 1)) and starts_with(replace(key, ' ', ''), solid) then
                if(length(replace(key, ' ', '')) = length(solid), 0.95, 0.75)
        end as match
    from placed
),
named as (
    select
        movie_id, n_ratings,
        case
            when match is not null then match
            when place > 1 and jaro_winkler_similarity(left(part, length(wanted) + 1), wanted) <= 0.93 then 0.0
            else if(place > 1, 0.85, 1.0) * search_likeness(part, wanted)
        end as match
    from by_words
),
matched as (
    select movie_id, round(max(match), 2) as match, any_value(n_ratings) as n_ratings
    from named
    where match >= 0.6
    group by movie_id
),
best as (
    select *, row_number() over (
        order by if(match between 0.9 and 0.98, 0.9, match) desc, n_ratings desc, movie_id
    ) as rank
    from matched
    qualify rank <= k
),
final as (
    select rank, movie_id, title, movies.year, genres, movies.n_ratings, match, item_id
    from best join movies using (movie_id)
    order by rank
)
from final;
