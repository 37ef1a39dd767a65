"""Answering together what several threads ask at the same time."""

import os
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

AT_ONCE = 32  # questions in one batch
Question = TypeVar("Question")
Answer = TypeVar("Answer")


class Batching(Generic[Question, Answer]):
    """Dynamic batching: what is asked while all processors are at work waits, and is answered as one batch.

    For answers of which several together take little longer than one: a small query of DuckDB's is mostly planning.
    A question that comes alone does not wait for others. Threads may share it.
    """

    def __init__(self, answer: Callable[[Sequence[Question]], Sequence[Answer]]) -> None:
        """answer: answers at most AT_ONCE questions, in their order; what it raises, all of the batch are told."""
        self._answer = answer
        self._waiting: queue.SimpleQueue[tuple[Question, Future[Answer]]] = queue.SimpleQueue()
        self._workers = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="batching")

    def ask(self, question: Question) -> Answer:
        """Return the answer to this question. Raises what answering raised."""
        future: Future[Answer] = Future()
        self._waiting.put((question, future))
        self._workers.submit(self._work)
        return future.result()

    def close(self) -> None:
        """Answer what has been asked, and nothing more."""
        self._workers.shutdown()

    def _work(self) -> None:
        batch: list[tuple[Question, Future[Answer]]] = []
        try:
            while len(batch) < AT_ONCE:
                batch.append(self._waiting.get_nowait())
        except queue.Empty:
            if not batch:
                return
        try:
            answers = self._answer([question for question, _ in batch])
            for (_, future), answer in zip(batch, answers, strict=True):
                future.set_result(answer)
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
