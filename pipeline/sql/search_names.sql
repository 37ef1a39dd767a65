-- Under which names can a movie be found? Its title without parentheses, and each text in parentheses.
-- One row per movie_id, words: movie_id, words (see search_words), key (see search_key), and the movie's year and
-- n_ratings.
create or replace table search_names as
with
name as (
    select
        movie_id, year, n_ratings,
        search_words(unnest(
            [regexp_replace(title, '\s*\([^()]*\)', '', 'g')]
            || regexp_extract_all(title, '\((?:a\.k\.a\. |aka )?([^()]*)\)', 1)
        )) as words
    from movies
),
final as (
    select distinct movie_id, words, search_key(words) as key, year, n_ratings
    from name
    where words != ''
    order by movie_id, words
)
from final;
