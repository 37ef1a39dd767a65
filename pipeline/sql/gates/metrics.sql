-- Is a measure of what is served no finite number?
-- One row per offending measure: problem.
select format('{}@{} of {} is {}', metric, k, protocol, coalesce(value::varchar, 'null')) as problem
from metrics
where model = 'served' and (
    value is null or not isfinite(value) or not coalesce(isfinite(ci_low) and isfinite(ci_high), true));
