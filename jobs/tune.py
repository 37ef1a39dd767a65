"""A search over the configuration, on validation users only: writes the best one as an overlay for --conf."""

import argparse
import hashlib
import json
import os
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import optuna
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame

from jobs.build_neighbours import Learned
from jobs.evaluate import as_catalogue, changed, main_requests, served_lists, splits, with_support
from jobs.train_als import load, popular
from pipeline import config as configuration
from pipeline.batch.run import Run, start
from pipeline.config import PipelineError
from pipeline.evaluation import metrics, protocol
from pipeline.files import replacing

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


def options(parser: argparse.ArgumentParser) -> None:
    """Add what only this job takes."""
    parser.add_argument("--protocol", choices=list(LENGTH), required=True, help="whom the lists are for")
    parser.add_argument("--budget", type=float, required=True, metavar="MINUTES", help="when to stop searching")
    parser.add_argument("--out", type=Path, required=True, metavar="OVERLAY.yaml", help="where the winner goes")


def main(run: Run) -> None:
    """Search for MINUTES, going on from an earlier search over the same data, and write the winner."""
    asked = run.options
    require_writable(asked.out, asked.budget)
    deadline = time.monotonic() + 60 * asked.budget
    run.config = changed(run.config, {"evaluation.protocol": asked.protocol, **FIXED[asked.protocol]})
    run.start_build("tuning")
    ratings, movies, words = load(run)
    space = search_space(run.config, asked.protocol, movies, words)
    study = open_study(run, asked.protocol, space)
    parts = [prepared(run, movies, words, split) for split in splits(run, ratings, "validation")]
    if not parts:
        raise PipelineError(f"{run.config.data.dir}: too few users with enough likes to tune anything")
    failures = 0
    while (winner := best(study)) is None or time.monotonic() < deadline:
        failures = 0 if try_one(run, study, space, parts) else failures + 1
        if failures == 5:
            raise PipelineError("five trials failed one after the other: see above")
    write_overlay(run, study, winner, asked)


def search_space(
    config: SimpleNamespace, name: str, movies: DataFrame, words: DataFrame
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


def open_study(run: Run, name: str, space: dict) -> optuna.Study:
    """Return the search over this data, configuration and space: a new one, or what is known already."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    settings = {section: keys for section, keys in configuration.as_dict(run.config).items() if section != "warehouse"}
    known = [run.build.manifest["inputs"], run.build.manifest["ratings"], settings, sorted(map(str, space.items()))]
    fingerprint = hashlib.sha256(json.dumps(known, sort_keys=True).encode()).hexdigest()[:8]
    folder = run.warehouse / "searches"
    folder.mkdir(parents=True, exist_ok=True)
    journal = folder / f"{name}-{fingerprint}.journal"
    study = optuna.create_study(
        study_name=name,
        storage=JournalStorage(JournalFileBackend(str(journal))),
        load_if_exists=True,
        direction="maximize",
        # The better half goes on to the next fold or share of the users.
        pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
    )
    seed = run.config.evaluation.seed + len(study.trials)
    study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=True, n_startup_trials=12)
    if not study.trials:
        for tried in FIRST[name]:
            study.enqueue_trial(starting_point(run.config, space, tried))
    else:
        run.say(f"going on after {len(finished(study)):,} trials, kept in {folder.name}/{journal.name}")
    return study


def starting_point(config: SimpleNamespace, space: dict, settings: dict[str, float]) -> dict[str, float]:
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


def prepared(run: Run, movies: DataFrame, words: DataFrame, split: protocol.Split) -> SimpleNamespace:
    """Return a split with what does not depend on what is tried."""
    training = split.training.persist()
    movies = with_support(movies, training).persist()
    learned = Learned(training, movies, words, run.cores)
    return SimpleNamespace(learned=learned, requests=main_requests(split), catalogue=as_catalogue(movies))


def try_one(run: Run, study: optuna.Study, space: dict, parts: list[SimpleNamespace]) -> bool:
    """Measure one configuration, step by step, and stop when it falls behind what others had reached by then.

    Return whether it could be measured.
    """
    begin, trial = time.monotonic(), study.ask(space)
    n_steps = sum(len(list(steps(part.requests))) for part in parts)
    total = users = 0.0
    stopped, failed = False, False
    try:
        for step, (value, n_users) in enumerate(measured(changed(run.config, trial.params), parts)):
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
    run.say(f"trial {trial.number:<4} {outcome:<24} {found:<44} {time.monotonic() - begin:6.1f} s")
    return not failed


def measured(config: SimpleNamespace, parts: list[SimpleNamespace]) -> Iterator[tuple[float, int]]:
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


def write_overlay(run: Run, study: optuna.Study, winner: optuna.trial.FrozenTrial, asked: argparse.Namespace) -> None:
    """Write the winner's configuration as an overlay: what was searched, what it is worth, and on which data."""
    overlay: dict[str, dict[str, Any]] = {}
    for key, value in {**winner.params, **FIXED[asked.protocol]}.items():
        section, name = key.split(".")
        overlay.setdefault(section, {})[name] = round(value, 4) if isinstance(value, float) else value
    default = next(
        (trial.value for trial in finished(study) if trial.number == 0 and trial.state == TrialState.COMPLETE), None
    )
    before = f"; as configured: {default:.4f}" if default else ""
    k = LENGTH[asked.protocol]
    data = Path(run.config.data.dir).name
    head = (
        f"# Found by jobs/tune.py --protocol {asked.protocol}: the best of {len(finished(study)):,} trials\n"
        f"# on validation users of {data}. Mean of nDCG@{k} and recall@{k}: {winner.value:.4f}{before}.\n\n"
    )
    with replacing(asked.out) as new:
        new.write_text(head + yaml.safe_dump(overlay, sort_keys=False), encoding="utf-8")
    run.say(f"wrote {asked.out}; use it: ./spark-submit.sh jobs/run_pipeline.py --conf {asked.out}")


if __name__ == "__main__":
    start(main, __doc__, options)
