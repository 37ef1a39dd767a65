-- Which films' lists leave their decade, and for which?
select
    title, year, n_ratings, mode(neighbour_year // 10 * 10) as mostly_from,
    round(100 * mean((neighbour_year // 10 != year // 10)::int)) as percent_of_other_decades,
    round(mean(abs(neighbour_year - year)), 1) as years_away
from lists
join movies using (movie_id, title, year)
where rank <= 50 and n_ratings >= 50 and neighbour_year is not null
group by movie_id, title, year, n_ratings
order by years_away desc, title
limit 20;
