-- What goes with Toy Story and Star Wars, and why?
select
    rank, title, year, round(score, 2) as score,
    array_to_string(
        [format('{} {:.0f} %', b.title, 100 * b.share) for b in because], ', '
    ) as because,
    source
from recommend([1, 260], k := 10);
