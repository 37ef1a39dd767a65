"""Questions asked at the same time: everybody gets their own answer, from few batches."""

import threading
import time

import pytest

from pipeline.serving import batching
from pipeline.serving.batching import Batching


def asked_by_threads(questions, answer):
    """Return what each question was answered, or the error it raised, and the batches, of which the first ones wait
    until all have been asked."""
    batches, all_asked = [], threading.Event()

    def slow(batch):
        batches.append(list(batch))
        assert all_asked.wait(60)
        return answer(batch)

    together, answers = Batching(), {}

    def ask(question):
        try:
            answers[question] = together.ask(question, slow)
        except ValueError as error:
            answers[question] = str(error)

    threads = [threading.Thread(target=ask, args=(question,)) for question in questions]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while sum(map(len, batches)) + together._waiting.qsize() < len(questions) and time.monotonic() < deadline:
        time.sleep(0.001)
    all_asked.set()
    for thread in threads:
        thread.join(60)
    return answers, batches


def test_everybody_gets_their_own_answer_from_few_batches(monkeypatch):
    monkeypatch.setattr(batching, "LARGEST_BATCH", 20)
    monkeypatch.setattr(batching.os, "cpu_count", lambda: 2)
    answers, batches = asked_by_threads(range(100), lambda batch: [question * 2 for question in batch])
    assert answers == {question: question * 2 for question in range(100)}
    assert sorted(question for batch in batches for question in batch) == list(range(100))
    # what the two workers took at once before the others had asked, and the rest in full batches
    assert len(batches) <= 2 + 5 and max(map(len, batches)) == 20


def test_an_error_is_told_to_all_of_its_batch_and_to_nobody_else(monkeypatch):
    monkeypatch.setattr(batching.os, "cpu_count", lambda: 1)

    def refuse_seven(batch):
        if 7 in batch:
            raise ValueError("no seven")
        return batch

    together = Batching()
    with pytest.raises(ValueError, match="no seven"):
        together.ask(7, refuse_seven)
    assert together.ask(8, refuse_seven) == 8
    answers, batches = asked_by_threads(range(20), refuse_seven)
    with_seven = next(batch for batch in batches if 7 in batch)
    assert answers == {question: "no seven" if question in with_seven else question for question in range(20)}


def test_an_answer_too_few_is_an_error_and_no_hang():
    with pytest.raises(ValueError, match="shorter"):
        Batching().ask(1, lambda batch: [])
