-- Which titles are new, and which are gone? The best-known first.
-- Parameter: n, titles of either kind. Rows: what ('new', 'gone'), movie_id, title, year.
(
    select 'new' as what, movie_id, title, year
    from after.movies
    anti join before.movies using (movie_id, title)
    order by n_ratings desc, movie_id
    limit $n
)
union all
(
    select 'gone', movie_id, title, year
    from before.movies
    anti join after.movies using (movie_id, title)
    order by n_ratings desc, movie_id
    limit $n
);
