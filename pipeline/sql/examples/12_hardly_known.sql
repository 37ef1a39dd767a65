-- What is loved but hardly known, and which well-known film leads there?
select
    loved.title, loved.year, loved.n_ratings, round(loved.mean_rating, 2) as stars, on_lists,
    arg_min(known.title, (lists.rank, -known.n_ratings)) as best_way_there
from movies as loved
join hubs using (movie_id)
join lists on lists.neighbour_id = loved.movie_id
join movies as known on known.movie_id = lists.movie_id
where loved.n_ratings between 10 and 25 and loved.mean_rating >= 4.2 and known.n_ratings >= 50
group by all
order by stars desc, loved.n_ratings desc, loved.title
limit 20;
