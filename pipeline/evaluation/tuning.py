"""A search over the configuration, on validation users only."""

import hashlib
import json
import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import optuna
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from pipeline import config as configuration
from pipeline.config import PipelineError, Settings, changed
from pipeline.evaluation import metrics, protocol
from pipeline.evaluation.experiment import Data, as_catalogue, main_requests, served_lists, with_support
from pipeline.files import replacing
from pipeline.model.lists import Learned
from pipeline.model.popularity import popular

# What is searched for: the mean of nDCG and recall at this length, over all numbers of favourites.
LENGTH = {"strangers": 10, "histories": 20}
FIRST_SHARE = 0.25  # of the users of a histories split, who are asked before the rest; strangers go fold by fold
# What goes with every configuration of a protocol: with whole histories nothing else speaks for a movie.
FIXED = {"strangers": {}, "histories": {"popularity.weight": 0.0}}
# Where a search begins: as configured, and what is known to matter most, so that even a short search sees it.
FIRST = {
    "strangers": [{}, {"spectral.content": 2.0}, {"spectral.damping": 0.8}],
    "histories": [
        {},
        {"spectral.damping": 0.1, "spectral.content": 0.5, "spectral.user_exponent": 1.0},
        {"spectral.residual": 1.0, "spectral.popularity_exponent": -0.2, "spectral.shrinkage": 5.0},
        {"spectral.residual": 0.5, "spectral.popularity_exponent": -0.2, "spectral.damping": 1.0},
    ],
}


def search_space(
    config: Settings, name: str, movies: DataFrame, words: DataFrame
) -> dict[str, optuna.distributions.BaseDistribution]:
    """Return what to search in: conf/search.yaml, without what the catalogue knows nothing of."""
    space = yaml.safe_load((configuration.CONF / "search.yaml").read_text(encoding="utf-8"))[name]
    if config.neighbours.similarity != "spectral":
        space = {key: domain for key, domain in space.items() if not key.startswith("spectral.")}
    if movies.where("size(genres) > 0").isEmpty():
        space = {key: domain for key, domain in space.items() if key not in ("spectral.content", "spectral.year")}
    if "spectral.content" not in space or words.isEmpty():
        space.pop("spectral.words", None)
    choice, span = optuna.distributions.CategoricalDistribution, optuna.distributions.FloatDistribution
    return {key: choice(domain) if isinstance(domain, list) else span(**domain) for key, domain in space.items()}


def open_study(config: Settings, name: str, space: dict, folder: Path, inputs: list) -> tuple[optuna.Study, Path]:
    """Return the search over these inputs, this configuration and space, and its journal, in a folder that is made.

    The search is a new one, or the one that an earlier run began.
    """
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    settings = {section: keys for section, keys in configuration.as_dict(config).items() if section != "warehouse"}
    known = [*inputs, settings, sorted(map(str, space.items()))]
    fingerprint = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:8]
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / f"{name}-{fingerprint}.journal"
    study = optuna.create_study(
        study_name=name,
        storage=JournalStorage(JournalFileBackend(str(journal))),
        load_if_exists=True,
        direction="maximize",
        # The better half is measured on the next fold or share of the users.
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    seed = config.evaluation.seed + len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=12)
    if not study.trials:
        for tried in FIRST[name]:
            study.enqueue_trial(starting_point(config, space, tried))
    return study, journal


def starting_point(config: Settings, space: dict, settings: dict[str, float]) -> dict[str, float]:
    """Return the configured values, and settings, of what is searched; as near to them as the space has."""
    point = {}
    for key, domain in space.items():
        section, name = key.split(".")
        value = settings.get(key, getattr(getattr(config, section), name))
        if isinstance(domain, optuna.distributions.CategoricalDistribution):
            point[key] = min(domain.choices, key=lambda choice: abs(choice - value))
        else:
            point[key] = min(max(value, domain.low), domain.high)
    return point


class Prepared(NamedTuple):
    """A split with everything that is the same for all configurations."""

    learned: Learned
    requests: dict[protocol.Asked, protocol.Requests]
    catalogue: metrics.Catalogue


def prepared(data: Data, split: protocol.Split) -> Prepared:
    """Return a split with everything that is the same for all configurations, persisted."""
    training = split.training.persist()
    movies = with_support(data.movies, training).persist()
    learned = Learned(training, movies, data.words, data.cores)
    return Prepared(learned, main_requests(split), as_catalogue(movies))


def try_one(
    config: Settings, study: optuna.Study, space: dict, parts: list[Prepared], say: Callable[[str], None]
) -> bool:
    """Measure one configuration, step by step, and stop when it falls behind what others had reached by then.

    Return whether it could be measured.
    """
    begin, trial = time.monotonic(), study.ask(space)
    n_steps = sum(len(list(steps(part.requests))) for part in parts)
    total = users = 0.0
    stopped, failed = False, False
    try:
        for step, (value, n_users) in enumerate(measured(changed(config, trial.params), parts)):
            total, users = total + value * n_users, users + n_users
            trial.report(total / users, step)
            stopped = trial.should_prune() and step + 1 < n_steps
            if stopped:
                break
        study.tell(trial, None if stopped else total / users, state=TrialState.PRUNED if stopped else None)
        outcome = f"{total / users:.4f}{', stopped early' if stopped else ''}"
    except (PipelineError, PySparkException) as error:
        failed = True
        study.tell(trial, state=TrialState.FAIL)
        outcome = f"failed: {str(error).splitlines()[0][:200]}"
    leader = best(study)
    found = f"best {leader.value:.4f}, trial {leader.number}" if leader else "no trial complete yet"
    say(f"trial {trial.number:<4} {outcome:<24} {found:<44} {time.monotonic() - begin:6.1f} s")
    return not failed


def measured(config: Settings, parts: list[Prepared]) -> Iterator[tuple[float, int]]:
    """Yield the mean of nDCG and recall, and the number of requests behind it, part of the users by part."""
    for part in parts:
        training, movies = part.learned.ratings, part.learned.movies
        popularity = popular(config, training, movies).toArrow()
        for requests in steps(part.requests):
            answers = served_lists(config, part.learned, popularity, requests)
            values = []
            for asked, lists in answers.items():
                k = LENGTH[asked[0]]
                found = metrics.per_request([ids[:k] for ids in lists], requests[asked].targets, k, part.catalogue)
                values += [found["ndcg"].mean(), found["recall"].mean()]
            yield float(np.mean(values)), sum(len(asked.users) for asked in requests.values())


def steps(requests: dict[protocol.Asked, protocol.Requests]) -> Iterator[dict[protocol.Asked, protocol.Requests]]:
    """Yield the requests to ask one after the other: a fold of strangers at once, histories a few users first."""
    requests = {asked: part for asked, part in requests.items() if len(part.users)}
    whole = requests.get(("histories", None))
    if whole is None:
        yield requests
        return
    order = np.random.default_rng(0).permutation(len(whole.users))
    first = max(int(FIRST_SHARE * len(order)), 1)
    for rows in (order[:first], order[first:]):
        columns = ([column[row] for row in rows] for column in whole[1:])
        if len(rows):
            yield {("histories", None): protocol.Requests(whole.users[rows], *columns)}


def best(study: optuna.Study) -> optuna.trial.FrozenTrial | None:
    """Return the best of the trials that were not stopped; None before the first."""
    complete = [trial for trial in finished(study) if trial.state == TrialState.COMPLETE]
    return max(complete, key=lambda trial: trial.value, default=None)


def finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Return the trials that were measured, to the end or until they were stopped."""
    return study.get_trials(deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED))


def require_writable(out: Path, budget: float) -> None:
    """Raise PipelineError when the search could not end well: no time, or nowhere to put the winner."""
    if not budget > 0:
        raise PipelineError(f"--budget {budget:g}: give the minutes to search, e.g. --budget 30")
    if out.is_dir() or not out.parent.is_dir() or not os.access(out if out.exists() else out.parent, os.W_OK):
        raise PipelineError(f"--out {out}: no file can be written there; give a path in a folder that exists")


def write_overlay(out: Path, name: str, data: str, study: optuna.Study, winner: optuna.trial.FrozenTrial) -> None:
    """Write the winner's configuration as an overlay: the settings that were searched, their worth, and the data."""
    overlay: dict[str, dict[str, Any]] = {}
    for key, value in {**winner.params, **FIXED[name]}.items():
        section, setting = key.split(".")
        overlay.setdefault(section, {})[setting] = round(value, 4) if isinstance(value, float) else value
    default = next(
        (trial.value for trial in finished(study) if trial.number == 0 and trial.state == TrialState.COMPLETE), None
    )
    before = f"; as configured: {default:.4f}" if default else ""
    k = LENGTH[name]
    head = (
        f"# Found by jobs/tune.py --protocol {name}: the best of {len(finished(study)):,} trials\n"
        f"# on validation users of {data}. Mean of nDCG@{k} and recall@{k}: {winner.value:.4f}{before}.\n\n"
    )
    with replacing(out) as new:
        new.write_text(head + yaml.safe_dump(overlay, sort_keys=False), encoding="utf-8")
