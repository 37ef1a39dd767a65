"""Answering together what several threads ask at the same time."""

import os
import queue
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

LARGEST_BATCH = 32  # questions in one batch
Question = TypeVar("Question")
Reply = TypeVar("Reply")


class Batching(Generic[Question, Reply]):
    """Dynamic batching: what is asked while all processors are at work waits, and is answered as one batch.

    For answers of which several together take little longer than one: a small query of DuckDB's is mostly planning.
    A question that comes alone does not wait for others. Threads may share it.
    """

    def __init__(self) -> None:
        self._waiting: queue.SimpleQueue[tuple[Question, Future[Reply]]] = queue.SimpleQueue()
        self._workers = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="batching")

    def ask(self, question: Question, answer: Callable[[Sequence[Question]], Sequence[Reply]]) -> Reply:
        """Return the answer to this question. Raises what answering raised.

        answer: answers at most LARGEST_BATCH questions, in their order, and is the same for all. Its error reaches
        every question of the batch. It is passed at each call and not kept, so that its owner can be freed.
        """
        future: Future[Reply] = Future()
        self._waiting.put((question, future))
        self._workers.submit(self._work, answer)
        return future.result()

    def _work(self, answer: Callable[[Sequence[Question]], Sequence[Reply]]) -> None:
        batch: list[tuple[Question, Future[Reply]]] = []
        try:
            while len(batch) < LARGEST_BATCH:
                batch.append(self._waiting.get_nowait())
        except queue.Empty:
            if not batch:
                return
        try:
            answers = answer([question for question, _ in batch])
            for (_, future), own in zip(batch, answers, strict=True):
                future.set_result(own)
        except BaseException as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
