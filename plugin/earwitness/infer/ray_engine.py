"""Many copies of an engine on a Ray cluster, fed by Ray Data; for the run it is one engine like any other.

The run stays where it is: it plans the batches, hands them out, and writes the answers into its journal as they come.
So the same records give the same bytes as on one machine, a run may go on here that began there, and what Ray has to
survive is only the death of a worker or of a machine: Ray Data starts the worker anew elsewhere and gives it the
batches that were lost. Because an answer depends on its batch alone, a batch judged twice is judged alike.
"""

from __future__ import annotations

import logging
import os
import pickle
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

from earwitness.errors import UserError
from earwitness.infer.engine import Answer, Engine, Item

if TYPE_CHECKING:
    import numpy as np

BATCHES_A_TASK = 4
"""Batches that a worker gets together, so that it reads clips of the next while its model works on one."""
ITEMS_A_TASK = 1024
"""Likewise for engines whose items are batches of their own."""


class RayEngine:
    """Workers on a Ray cluster, each with an engine of its own."""

    name = "ray"

    def __init__(
        self, make: Callable[[], Engine], workers: int, *, address: str | None = None, gpus: float = 0.0
    ) -> None:
        """Prepare the workers; they start with the first batch, after all checks.

        Args:
            make: makes an engine; is pickled and called in each worker. What it names (model, clips) must be found
                under the same path on every machine.
            workers: how many.
            address: of a cluster that runs ("auto", "ray://host:10001"); ``None`` starts one on this machine, for as
                long as the run lasts.
            gpus: that each worker needs.

        Raises:
            UserError: Ray is not installed, or there is no worker.
        """
        if workers < 1:
            raise UserError(f"--ray-workers is {workers}; must be at least 1")
        try:
            import ray
        except ImportError as error:
            raise UserError(
                f"--ray-workers needs Ray, which is not installed ({error}); fix: pip install 'earwitness[ray]'"
            ) from None
        self._ray = ray
        self._make, self._engine = make, make()
        self._workers, self._address, self._gpus = workers, address, gpus
        self.alone = self._engine.alone

    def describe(self) -> dict[str, Any]:
        """See ``Engine``: that of each worker, which alone decides the verdicts."""
        return self._engine.describe()

    def label(self) -> Any:
        """See ``Engine``."""
        return self._engine.label()

    def size(self, item: Item) -> int:
        """See ``Engine``."""
        return self._engine.size(item)

    def answer(self, batches: Iterable[tuple[int, Sequence[Item]]]) -> Iterator[tuple[int, list[Answer]]]:
        """See ``Engine``; batches come back as they are finished.

        Raises:
            UserError: the cluster cannot be reached, or what the engine raises in a worker.
        """
        numbered, size = iter(batches), ITEMS_A_TASK if self.alone else BATCHES_A_TASK
        tasks = [{"work": pickle.dumps(group)} for group in iter(lambda: list(islice(numbered, size)), [])]
        if not tasks:
            return
        threads = self.describe().get("threads") or 1
        self._connect(threads)
        try:
            self._check_gpus()
            answered = self._ray.data.from_items(tasks, override_num_blocks=len(tasks)).map_batches(
                _Worker,
                fn_constructor_args=(self._make, threads, os.getcwd()),
                batch_size=None,
                batch_format="numpy",
                concurrency=min(self._workers, len(tasks)),
                num_cpus=threads,
                num_gpus=self._gpus,
            )
            for row in answered.iter_rows():
                yield from pickle.loads(row["answers"])
        except self._ray.exceptions.RayError as error:
            raise _cause(error) from error
        finally:
            self._ray.shutdown()

    def _check_gpus(self) -> None:
        """Say that GPUs are wanting: Ray itself would wait for them, and not say so."""
        wanted, there = self._workers * self._gpus, self._ray.cluster_resources().get("GPU", 0.0)
        if wanted <= there:
            return
        told = f"--ray-workers {self._workers} with {self._gpus:g} GPUs each (--ray-gpus) need {wanted:g} GPUs"
        if self._address is None:
            raise UserError(f"{told}, this machine has {there:g}")
        print(f"note: {told}, the cluster has {there:g} now; Ray waits for more", file=sys.stderr)

    def _connect(self, threads: int) -> None:
        # The variables that decide what is judged, for machines whose shells do not have them.
        named = {name: value for name, value in os.environ.items() if name.startswith("EARWITNESS_")}
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        local: dict[str, Any] = (
            {} if self._address else {"num_cpus": self._workers * threads, "include_dashboard": False}
        )
        try:
            self._ray.init(
                address=self._address,
                runtime_env={"env_vars": named},
                log_to_driver=False,
                logging_level=logging.ERROR,
                **local,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            what = (
                f"--ray-address {self._address}: the cluster cannot be reached" if self._address else "Ray cannot start"
            )
            raise UserError(f"{what}: {str(error).strip().splitlines()[0]}") from error
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = context.print_on_execution_start = False


class _Worker:
    """One engine in a worker of Ray Data."""

    def __init__(self, make: Callable[[], Engine], threads: int, folder: str) -> None:
        """Make the engine, with as many threads as on the machine that planned the run: they show in last digits."""
        import torch

        torch.set_num_threads(threads)
        if os.path.isdir(folder):  # relative paths mean what they mean to the run
            os.chdir(folder)
        self._engine = make()

    def __call__(self, tasks: dict[str, np.ndarray]) -> dict[str, list[bytes]]:
        """Answer a task: numbered batches in, numbered answers out."""
        return {"answers": [pickle.dumps(list(self._engine.answer(pickle.loads(task)))) for task in tasks["work"]]}


def _cause(error: BaseException) -> BaseException:
    """What the engine raised in a worker, without the wrapping of Ray; else the error itself."""
    inner: BaseException | None = error
    while inner is not None:
        if isinstance(inner, UserError) and type(inner).__module__.startswith("earwitness"):
            return inner
        inner = getattr(inner, "cause", None) or inner.__cause__
    return error
