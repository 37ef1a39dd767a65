"""The rows of the metrics table, to be looked up and compared. No Spark."""

from typing import NamedTuple

# Per protocol: number of favourites and length of the lists that are shown, and the pair that the rest is shown for.
ASKED: dict[str, tuple[list[tuple[int | None, int]], tuple[int | None, int]]] = {
    "strangers": ([(1, 10), (3, 10), (5, 10), (10, 10)], (5, 10)),
    "histories": ([(None, 10), (None, 20), (None, 50), (None, 100)], (None, 20)),
    "franchises": ([(1, 10)], (1, 10)),
}


class Measure(NamedTuple):
    """One row of the metrics table."""

    protocol: str
    model: str
    n_favourites: int | None
    metric: str
    k: int
    value: float
    ci_low: float | None
    ci_high: float | None


SERVED = "served"
LABELS = {"ndcg": "nDCG", "recall": "recall", "stratified_recall": "stratified recall"}


class Results:
    """The rows of the metrics table, to be looked up."""

    def __init__(self, rows: list[Measure]) -> None:
        self.rows = {(row.protocol, row.model, row.n_favourites, row.metric, row.k): row for row in rows}

    def models(self, protocol: str, n_favourites: int | None, metric: str, k: int) -> list[str]:
        """Return the models that were measured so, best first."""
        found = {
            key[1]: row.value
            for key, row in self.rows.items()
            if (key[0], *key[2:]) == (protocol, n_favourites, metric, k)
        }
        return sorted(found, key=lambda model: -found[model])

    def value(self, *key: str | int | None) -> float | None:
        """Return the value of protocol, model, n_favourites, metric, k; None when it was not measured."""
        return self.rows[key].value if key in self.rows else None


class Standing(NamedTuple):
    """The served lists compared with the best baseline, in one measure.

    lead: by what share it is above, negative if it is below. side: 'above', 'below', or 'level' if the baseline
    lies within the 95 % interval of what is served.
    """

    protocol: str
    n_favourites: int | None
    metric: str
    k: int
    served: Measure
    rival: Measure
    lead: float
    side: str


def standings(results: Results) -> list[Standing]:
    """Return a row per protocol, number of favourites and measure that were taken of what is served and of others."""
    rows = []
    asked = [("strangers", n, k) for n, k in ASKED["strangers"][0]]
    asked += [(protocol, *ASKED[protocol][1]) for protocol in ("histories", "franchises")]
    for protocol, n, k in asked:
        for metric in LABELS if protocol != "franchises" else ["recall"]:
            others = [m for m in results.models(protocol, n, metric, k) if not m.startswith(SERVED)]
            served = results.rows.get((protocol, SERVED, n, metric, k))
            if not others or served is None:
                continue
            rival = results.rows[protocol, others[0], n, metric, k]
            lead = served.value / rival.value - 1 if rival.value else float("inf")
            low, high = served.ci_low, served.ci_high
            level = low is not None and high is not None and low <= rival.value <= high
            side = "level" if level else "above" if lead > 0 else "below"
            rows.append(Standing(protocol, n, metric, k, served, rival, lead, side))
    return rows


def asked_of(row: Standing) -> str:
    """Return who was asked for, in words."""
    if row.protocol == "franchises":
        return "one film of a family"
    return f"{row.protocol if row.n_favourites else 'known users'} with {favourites_in_words(row.n_favourites)}"


def ranking(results: Results, row: Standing) -> list[Measure]:
    """Return the same measure of all models, best first."""
    asked = (row.n_favourites, row.metric, row.k)
    return [results.rows[row.protocol, model, *asked] for model in results.models(row.protocol, *asked)]


def favourites_in_words(n: int | None) -> str:
    """Return a number of favourites in words; None means a user's whole history."""
    return f"{n} favourite{'s' * (n > 1)}" if n else "whole histories"
