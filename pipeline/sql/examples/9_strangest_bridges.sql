-- Which films are the strangest bridges between two genres?
with
genre_of as (
    from film_genres
    where genre != 'IMAX'  -- a kind of screen
),
step as (
    select lists.movie_id, here.genre as from_genre, there.genre as to_genre, count(*) as of_ten
    from lists
    join genre_of as here using (movie_id)
    join genre_of as there on there.movie_id = neighbour_id
    where rank <= 10 and here.n_ratings >= 20
    group by all
),
size as (
    select genre as from_genre, count(*) as films
    from genre_of
    where n_ratings >= 20
    group by genre
),
usual as (
    select from_genre, to_genre, sum(of_ten) / any_value(films) as usually
    from step
    join size using (from_genre)
    group by from_genre, to_genre
),
-- strange even for that genre of the film which most often leads there; a film of both genres is no bridge
bridge as (
    select
        movie_id, to_genre, any_value(of_ten) as of_ten, max(usually) as usually,
        arg_max(from_genre, usually) as from_genre
    from step
    join usual using (from_genre, to_genre)
    anti join genre_of as own on own.movie_id = step.movie_id and own.genre = to_genre
    group by movie_id, to_genre
)
select title, year, from_genre, to_genre, of_ten, round(usually, 1) as usually
from bridge
join movies using (movie_id)
where of_ten >= 3
qualify row_number() over (partition by movie_id order by of_ten / usually desc, to_genre) = 1
order by of_ten / usually desc, title
limit 20;
