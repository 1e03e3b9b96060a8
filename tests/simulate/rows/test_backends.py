"""Engines: each leads to the rows that one process writes; a worker that dies loses nothing; bad words are refused."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from itertools import pairwise
from pathlib import Path

import joblib
import pytest

from simulate.__main__ import main
from simulate.montecarlo import Estimate, generator
from simulate.rows import backends, grid
from simulate.rows.backends import Backend, backend, check_worker
from simulate.rows.grid import Execution, Job, _numbered, in_time, one_by_one, run_jobs
from simulate.rows.measurement import Measurement
from simulate.rows.reach import ROOT, fingerprint
from simulate.rows.store import make_stamp, read_rows

MODULES = ("theory.distortion.factors",)
STAMP = make_stamp("smoke", {"seed": 0})


def jobs(n: int, die_once: Path | None = None, until: Path | None = None) -> list[Job]:
    """Jobs of which the third kills its worker the first time, if it can leave a mark.

    until  a file that all but the first wait for, a minute at most
    """

    # inner, so that it is pickled by value: workers elsewhere need not have the tests
    def measure(i: int) -> list[Measurement]:
        if i == 2 and die_once is not None and not die_once.exists():
            die_once.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        deadline = time.monotonic() + 60
        while i and until is not None and not until.exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        value = float(generator(0, f"i={i}").normal())
        return [Measurement("D1", "violation", {"i": i}, Estimate(value, 0.1, 7))]

    return [Job(f"D1.violation at i={i}", 0, partial(measure, i), MODULES) for i in range(n)]


def numbers(folder: Path) -> list[tuple]:
    """Everything in the rows but their seconds, to the last bit; the stamp too."""
    return [(r.cell, r.estimate, r.stderr, r.n, r.low, r.high, r.witness, r.stamp) for r in read_rows(folder)]


@pytest.fixture
def expected(tmp_path):
    """The rows of eight jobs by one process."""
    run_jobs(jobs(8), tmp_path / "one", STAMP)
    return numbers(tmp_path / "one")


class Elsewhere:
    """What cannot be unpickled where one of its modules is missing."""

    def __reduce__(self):
        return importlib.import_module, ("no_such_module",)


def runs(process: int) -> bool:
    """Is there a process of this number?"""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


#: A process with two workers, of which one at least has had no work, and that is killed then.
KILLED = """
import os, pathlib, signal, joblib
from simulate.rows.backends import Backend, engine
with engine(Backend(), 2, pathlib.Path()) as run:
    print(*run([joblib.delayed(os.getppid)()]), os.getpid(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_idle_workers_end_with_the_process_that_asked():
    command = [sys.executable, "-c", KILLED]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)  # till all end
    assert said.returncode == -signal.SIGKILL, said.stderr
    parent, own = said.stdout.split()
    assert parent == own


@contextmanager
def dask_cluster(folder: Path, workers: int):
    """A scheduler and workers, processes of their own, over loopback; its address. Nannies start dead workers again."""
    started = []

    def start(*words: str) -> None:
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}:{os.environ.get('PYTHONPATH', '')}"}
        with (folder / "dask.log").open("a") as log:
            started.append(
                subprocess.Popen([sys.executable, "-m", *words], stdout=log, stderr=log, env=environment, cwd=folder,
                                 start_new_session=True)
            )  # fmt: skip

    file = folder / "scheduler.json"
    start("distributed.cli.dask_scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard",
          "--scheduler-file", str(file))  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while not file.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        start("distributed.cli.dask_worker", "--scheduler-file", str(file), "--nworkers", str(workers), "--nthreads",
              "1", "--no-dashboard", "--host", "127.0.0.1")  # fmt: skip
        import distributed

        with distributed.Client(scheduler_file=str(file)) as client:
            client.wait_for_workers(workers, timeout=30)
            address = client.scheduler.address
        yield address
    finally:
        for process in reversed(started):
            os.killpg(process.pid, signal.SIGKILL)  # its workers too: without a scheduler they may not end when asked
            process.wait()


@pytest.mark.filterwarnings("default")
def test_dask_writes_the_same_rows_and_a_worker_that_dies_loses_nothing(tmp_path, expected):
    distributed = pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    mark, gone = tmp_path / "died", tmp_path / "gone"
    with dask_cluster(tmp_path, 2) as address:
        left = run_jobs(jobs(8, mark), tmp_path / "dask", STAMP, Execution(on=backend(f"dask:{address}")))
        words = ["D1", "--profile", "smoke", "--results"]
        assert main([*words, str(tmp_path / "there"), "--on", f"dask:{address}"]) == 0
        assert main([*words, str(tmp_path / "here"), "--jobs", "1"]) == 0
        with distributed.Client(address) as client:
            scheduler = client.run_on_scheduler(os.getpid)

        def lose_scheduler(job, rows):
            os.kill(scheduler, signal.SIGKILL)
            gone.touch()

        lost = Execution(on=backend(f"dask:{address}"), on_rows=lose_scheduler)
        with pytest.raises(ValueError, match=f"the Dask scheduler at {address} was lost, what was finished is kept"):
            run_jobs(jobs(30, until=gone), tmp_path / "lost", STAMP, lost)
    assert read_rows(tmp_path / "lost")
    assert mark.exists(), "no worker died"
    assert left == 0
    assert numbers(tmp_path / "dask") == expected
    assert numbers(tmp_path / "there") == numbers(tmp_path / "here") != []


@pytest.mark.filterwarnings("default")
def test_a_cluster_of_one_core_runs_there_not_here(tmp_path):
    pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    with dask_cluster(tmp_path, 1) as address, backends.engine(backend(f"dask:{address}"), 1, tmp_path) as run:
        assert os.getpid() not in run([joblib.delayed(os.getpid)()])
        with pytest.raises(ModuleNotFoundError, match="no_such_module"):  # and the worker lives
            list(run([joblib.delayed(id)(Elsewhere())]))
        assert os.getpid() not in run([joblib.delayed(os.getpid)()])


@pytest.mark.filterwarnings("default")
def test_dask_workers_without_this_project_are_one_sentence(tmp_path):
    distributed = pytest.importorskip("distributed", reason="the extra `dask` is not installed")
    with (
        distributed.LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        pytest.raises(ValueError, match="Dask workers have not this project: No module named 'no_such_module'"),
        backends.engine(backend(f"dask:{cluster.scheduler_address}"), 1, tmp_path) as run,
    ):
        list(run([joblib.delayed(id)(Elsewhere())]))


@pytest.mark.filterwarnings("default")
def test_a_dask_worker_of_several_threads_runs_one_job_at_a_time_and_is_waited_for(tmp_path, capsys):
    distributed = pytest.importorskip("distributed", reason="the extra `dask` is not installed")

    def spent() -> tuple[float, float]:
        began = time.monotonic()
        time.sleep(0.05)
        return began, time.monotonic()

    with (
        distributed.LocalCluster(n_workers=0, threads_per_worker=3, processes=False, dashboard_address=None) as cluster,
        backends.engine(backend(f"dask:{cluster.scheduler_address}"), 1, tmp_path) as run,
    ):
        running = run(joblib.delayed(spent)() for _ in range(6))
        joins = threading.Timer(0.1, cluster.scale, [1])
        joins.start()
        times = sorted(running)
    assert all(ended <= began for (_, ended), (began, _) in pairwise(times))
    assert capsys.readouterr().err.count("has no worker: waiting for one") == 1


def test_workers_that_join_late_get_calls_while_none_ends():
    there, sent = iter([0, 3, 3, 3]), []

    def ended(tasks):
        in_flight.append(len(tasks))
        assert len(in_flight) < 3, "no more was sent"
        return ([], tasks) if len(tasks) < 6 else (tasks, [])

    in_flight: list[int] = []
    calls = [joblib.delayed(int)(i) for i in range(8)]
    sending = lambda call: sent.append(call) or call[1][0]
    found = backends._kept_busy(calls, sending, ended, lambda: next(there), lambda task: task, 2)
    assert [next(found) for _ in range(6)] == [0, 1, 2, 3, 4, 5]
    assert in_flight == [2, 6]
    assert sent == calls[:6]


@pytest.mark.parametrize(("minutes", "ahead"), [(None, 2), (1.0, 1)])
def test_within_minutes_a_job_is_sent_when_a_worker_is_free(minutes, ahead, tmp_path, monkeypatch):
    """Or it would start a job's length after it was asked whether it may."""
    in_flight = []

    def ended(tasks):
        in_flight.append(len(tasks))
        return tasks[:1], tasks[1:]

    @contextmanager
    def cluster(where, workers, folder, ahead):
        yield lambda calls: backends._kept_busy(calls, lambda call: call, ended, lambda: 3, backends._one, ahead)

    monkeypatch.setattr(grid, "engine", cluster)
    how = Execution(may_start=in_time(minutes and time.monotonic() + 60.0 * minutes))
    assert run_jobs(jobs(8), tmp_path, STAMP, how) == 0
    assert max(in_flight) == 3 * ahead


@pytest.mark.filterwarnings("default")
def test_a_worker_of_this_machine_that_dies_is_one_sentence_and_loses_nothing(tmp_path, expected):
    mark = tmp_path / "died"
    with pytest.raises(ValueError, match=r"a worker died, .*what was finished is kept: run again to go on"):
        run_jobs(jobs(8, mark), tmp_path / "local", STAMP, Execution(2))
    assert mark.exists(), "no worker died"
    assert run_jobs(jobs(8, mark), tmp_path / "local", STAMP, Execution(2)) == 0
    assert numbers(tmp_path / "local") == expected


@pytest.mark.filterwarnings("default")
def test_an_array_writes_the_same_rows_and_a_task_that_dies_goes_again(tmp_path, expected, monkeypatch):
    submitit = pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
    monkeypatch.setattr(submitit.Job, "_results_timeout_s", 1)  # how long a dead task's result is waited for
    monkeypatch.setattr(backends, "_array", partial(backends._array, cluster="local", seconds=0.05))
    monkeypatch.setattr(backends, "LONGEST_ARRAY", 2)  # so that a task holds four jobs
    mark = tmp_path / "died"
    assert run_jobs(jobs(8, mark), tmp_path / "array", STAMP, Execution(2, on=Backend("slurm"))) == 0
    assert mark.exists(), "no task died"
    assert numbers(tmp_path / "array") == expected


@pytest.fixture
def interruptible():
    """Processes that are started now can be interrupted, even where the tests are run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.filterwarnings("default")
def test_an_array_that_is_given_up_is_cancelled(tmp_path, monkeypatch, interruptible):
    submitit = pytest.importorskip("submitit", reason="the extra `slurm` is not installed")
    sent, begun, number = [], tmp_path / "begun", tmp_path / "number"
    send = submitit.AutoExecutor.map_array
    monkeypatch.setattr(submitit.AutoExecutor, "map_array", lambda *words: sent.extend(send(*words)) or sent)

    def waits_for_the_other():
        deadline = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < deadline:
            time.sleep(0.02)

    def goes_on():
        number.write_text(str(os.getpid()))
        begun.touch()
        time.sleep(90)

    calls = [joblib.delayed(waits_for_the_other)(), joblib.delayed(goes_on)()]
    results = backends._array(calls, 2, tmp_path / "tasks", "local", 0.05)
    next(results)
    results.close()
    for task in sent:
        task._process.wait(45)
    deadline = time.monotonic() + 20
    while runs(int(number.read_text(encoding="utf-8"))) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not runs(int(number.read_text(encoding="utf-8")))


@pytest.mark.filterwarnings("default")
def test_ray_writes_the_same_rows_and_a_worker_that_dies_loses_nothing(tmp_path, expected, monkeypatch):
    pytest.importorskip("ray", reason="the extra `ray` is not installed")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))  # not one in the home of who tests
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    mark = tmp_path / "died"
    assert run_jobs(jobs(8, mark), tmp_path / "ray", STAMP, Execution(2, on=Backend("ray"))) == 0
    assert mark.exists(), "no worker died"
    assert numbers(tmp_path / "ray") == expected


def test_what_each_worker_did_is_printed(tmp_path, capsys, monkeypatch):
    @contextmanager
    def two_workers(where, workers, folder, ahead):
        yield lambda calls: ((n, done, f"node {n % 2}", 0.5) for n, done, *_ in (f(*words) for f, words, _ in calls))

    monkeypatch.setattr(grid, "engine", two_workers)
    run_jobs(jobs(7), tmp_path, STAMP)
    said = capsys.readouterr().err
    assert "node 0: 4 jobs in 2.0 s\n" in said
    assert "node 1: 3 jobs in 1.5 s\n" in said


def test_a_worker_of_other_code_or_packages_is_refused():
    code = fingerprint(*MODULES)
    check_worker(MODULES, code, {"joblib": joblib.__version__})
    with pytest.raises(ValueError, match=r"has other code of theory\.distortion\.factors"):
        check_worker(MODULES, "another", {})
    with pytest.raises(ValueError, match=rf"has joblib {joblib.__version__}, not 0\.1"):
        check_worker(MODULES, code, {"joblib": "0.1"})
    with pytest.raises(ValueError, match=r"has nowhere-found of no version, not 1\.0"):
        check_worker(MODULES, code, {"nowhere-found": "1.0"})
    _, outcomes, *_ = _numbered(0, one_by_one, jobs(2), {"joblib": "0.1"})  # what a worker elsewhere does
    assert all("has joblib" in str(outcome) for outcome in outcomes)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("spark", "is none of local:N, dask:ADDRESS"),
        ("dask", "must be dask:ADDRESS"),
        ("ray:", "must be ray or ray:ADDRESS"),
        ("slurm:here", "must be slurm"),
        ("local:0", "at least 1"),
        ("local:two", "at least 1"),
    ],
)
def test_a_wrong_engine_is_refused(text, complaint):
    with pytest.raises(argparse.ArgumentTypeError, match=complaint):
        backend(text)


def test_a_missing_package_is_one_sentence_with_status_2(monkeypatch, capsys):
    monkeypatch.setattr(backends, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as ended:
        main(["D1", "--on", "ray"])
    said = capsys.readouterr().err
    assert (ended.value.code, said.count("\n")) == (2, 1)
    assert "needs the package ray, which is not here: pip install 'alignment-theory[ray]'" in said


def test_minutes_are_not_for_an_array(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(backends, "find_spec", lambda name: name)
    assert main(["D1", "--on", "slurm", "--minutes", "1", "--results", str(tmp_path)]) == 2
    assert "set SBATCH_TIMELIMIT" in capsys.readouterr().err
