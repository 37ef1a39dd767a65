-- Is a measure of what is served more than gates.max_quality_loss worse than in the live release of the same data?
-- live: the live release's database, attached. Asked of nDCG and recall, where both releases were evaluated alike.
-- One row per measure that fell: problem.
select
    format('{}@{} of {} with {} favourites: {:.4f} where the live release has {:.4f}', metric, k, protocol,
        coalesce(here.n_favourites::varchar, 'all'), here.value, live_metrics.value) as problem
from metrics as here
join live.metrics as live_metrics using (protocol, model, metric, k)
where
    model = 'served' and metric in ('ndcg', 'recall')
    and here.n_favourites is not distinct from live_metrics.n_favourites
    and here.value < (1 - bound('max_quality_loss')) * live_metrics.value;
