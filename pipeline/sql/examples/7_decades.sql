-- Which decade's films are rated best?
select
    year // 10 * 10 as decade, count(*) as films, sum(n_ratings) as ratings,
    round(sum(mean_rating * n_ratings) / sum(n_ratings), 2) as stars
from movies
where year is not null and n_ratings > 0
group by decade
order by stars desc, decade;
