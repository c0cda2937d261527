"""What a process of a task may do, as in a process that no Celery has started."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUNTIME = Path(__file__).parents[2] / "roles/airflow_runtime/files/runtime"


# A task process that creates processes in every way that Python offers. It prints what a task would see of each:
# the exit code, whether the process dies with its parent (PR_GET_PDEATHSIG), and a variable that the task has set.
# As in a worker, the process that forks the task is a daemon to multiprocessing.
TASK_WITH_CHILDREN = """
import asyncio, ctypes, multiprocessing, os, pty, subprocess, sys, time
from concurrent.futures import ProcessPoolExecutor
from joblib import Parallel, delayed
from joblib.externals.loky import get_reusable_executor

NAME = "AIRFLOW__CELERY__BROKER_URL"

def seen():
    number = ctypes.c_int()
    ctypes.CDLL(None).prctl(2, ctypes.byref(number), 0, 0, 0)
    return f"{number.value} {os.environ.get(NAME)}"

def report(write):
    os.write(write, seen().encode())

def forked(fork):
    read, write = os.pipe()
    pid = fork()
    if pid == 0:
        report(write)
        os._exit(7)
    os.close(write)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with os.fdopen(read) as pipe:
        return f"{code} {pipe.read()}"

def double_fork():
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        middle = os.getpid()
        if os.fork() == 0:
            while os.getppid() == middle:
                time.sleep(0.01)
            os.write(write, f"{seen()}, its child {forked(os.fork)}".encode())
        os._exit(0)
    os.close(write)
    os.waitpid(pid, 0)
    with os.fdopen(read) as pipe:
        return pipe.read()

def program(**options):
    code = "import sys; sys.path.insert(0, sys.argv[1]); import children; print(children.seen())"
    done = subprocess.run(
        [sys.executable, "-c", code, os.path.dirname(__file__)], capture_output=True, text=True, **options
    )
    return f"{done.returncode} {done.stdout.strip()}{done.stderr}"

def process_of(method):
    context = multiprocessing.get_context(method)
    queue = context.SimpleQueue()
    process = context.Process(target=put, args=(queue,))
    process.start()
    process.join()
    return f"{process.exitcode} {'nothing' if queue.empty() else queue.get()}"

def put(queue):
    queue.put(seen())

def pool_of(method):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        return pool.submit(seen).result()

def pool_of_processes(method):
    with multiprocessing.get_context(method).Pool(1, maxtasksperchild=1) as pool:
        return pool.apply(seen)

def nested_pool():
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork")) as pool:
        return pool.submit(pool_of, "fork").result()

def managed():
    with multiprocessing.Manager() as manager:
        shared = manager.list()
        process = multiprocessing.Process(target=shared.append, args=("done",), daemon=True)
        process.start()
        process.join()
        return f"{process.exitcode} {list(shared)}"

def parallel(backend):
    found = Parallel(n_jobs=2, backend=backend)(delayed(seen)() for _ in range(2))
    # Processes of loky would wait for more work, with the output of the task open.
    get_reusable_executor().shutdown()
    return found

PROGRAM = ["/bin/sh", "-c", f'test "${NAME}" = "of the task" && exit 7']

def ended(pid):
    return str(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

def executed():
    pid = os.fork()
    if pid == 0:
        os.execv(PROGRAM[0], PROGRAM)
    return ended(pid)

async def of_asyncio(shell):
    create = asyncio.create_subprocess_shell if shell else asyncio.create_subprocess_exec
    command = [PROGRAM[2]] if shell else PROGRAM
    process = await create(*command, stdout=subprocess.PIPE, start_new_session=True)
    output, _ = await process.communicate()
    return f"{process.returncode} {output}"

async def executor_of_asyncio():
    with ProcessPoolExecutor(1) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, seen)

WAYS = {
    "fork": lambda: forked(os.fork),
    "forkpty": lambda: forked(lambda: pty.fork()[0]),
    "double fork": double_fork,
    "pty.spawn": lambda: str(os.waitstatus_to_exitcode(pty.spawn(PROGRAM))),
    "fork and exec": executed,
    "posix_spawn": lambda: ended(os.posix_spawn(PROGRAM[0], PROGRAM, os.environ)),
    "posix_spawnp": lambda: ended(os.posix_spawnp("sh", PROGRAM, os.environ, setsigmask=[])),
    "spawnvp": lambda: str(os.spawnvp(os.P_WAIT, "sh", PROGRAM)),
    "spawn without waiting": lambda: ended(os.spawnv(os.P_NOWAIT, PROGRAM[0], PROGRAM)),
    "system": lambda: str(os.system("exit 7")),
    "popen": lambda: str(os.popen(PROGRAM[2]).close()),
    "shell": lambda: str(subprocess.run(PROGRAM[2], shell=True, capture_output=True)),
    "getoutput": lambda: str(subprocess.getstatusoutput(PROGRAM[2])),
    "user and group": lambda: program(user=os.getuid(), group=os.getgid(), umask=0o22),
    "asyncio": lambda: asyncio.run(of_asyncio(False)),
    "asyncio shell": lambda: asyncio.run(of_asyncio(True)),
    "asyncio executor": lambda: asyncio.run(executor_of_asyncio()),
    "subprocess": program,
    "preexec_fn": lambda: program(preexec_fn=os.setsid),
    "session": lambda: program(start_new_session=True),
    "process group": lambda: program(process_group=0),
    **{f"Process {method}": lambda method=method: process_of(method) for method in ("fork", "forkserver", "spawn")},
    **{f"executor {method}": lambda method=method: pool_of(method) for method in ("fork", "forkserver", "spawn")},
    **{f"Pool {method}": lambda method=method: pool_of_processes(method) for method in ("fork", "forkserver", "spawn")},
    **{f"joblib {backend}": lambda backend=backend: parallel(backend) for backend in ("loky", "multiprocessing")},
    "Manager": managed,
    "pool in a pool": nested_pool,
}

def run():
    os.environ[NAME] = "of the task"
    for way, create in WAYS.items():
        try:
            result = create()
        except Exception as error:
            result = repr(error)
        print(f"{way}: {result}", flush=True)

def supervise():
    task = os.fork()
    if task == 0:
        run()
        os._exit(0)
    os.waitpid(task, 0)

def in_pool():
    from airflow_celery_cluster import fence
    task_process.prepare_tasks()
    fence.bind_tasks_to_supervisor()
    supervise()

def in_daemon():
    process = multiprocessing.get_context("fork").Process(target=in_pool, daemon=True)
    process.start()
    process.join()
"""

# As Airflow's main module, it cannot be imported again below a task.
MAIN_OF_WORKER = """
import sys
if __name__ != "__main__":
    raise ImportError("the main module of the worker")
sys.path.append(sys.argv[1])
from airflow_celery_cluster import task_process
import children
children.task_process = task_process
children.in_daemon()
"""


def test_a_task_creates_processes_as_without_celery(tmp_path: Path) -> None:
    (tmp_path / "children.py").write_text(TASK_WITH_CHILDREN)
    main = tmp_path / "main.py"

    def run(code: str) -> list[str]:
        main.write_text(code)
        command = [sys.executable, "-m", "main", str(RUNTIME)]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
        return done.stdout.splitlines()

    stock = run("import children\nif __name__ == '__main__':\n    children.supervise()")
    assert len(stock) == 34
    assert [line for line in stock if "Error" in line] == []
    assert "preexec_fn: 0 0 of the task" in stock
    assert "Pool spawn: 0 of the task" in stock
    assert "pty.spawn: 7" in stock
    assert run(MAIN_OF_WORKER) == stock


VARIABLES = """
import json, os, subprocess, sys
sys.path.insert(0, sys.argv[1])
from airflow_celery_cluster import task_process

def seen():
    return {name: os.environ.get(name) for name in ("PGHOST", "HTTPS_PROXY", task_process.TASK_VARIABLES)}

task_process.prepare_tasks()
read, write = os.pipe()
if os.fork() == 0:
    of_task = seen()
    os.environ["PGHOST"] = "of the task"
    if os.fork() == 0:
        os.write(write, json.dumps([of_task, seen()]).encode())
    os._exit(0)
os.close(write)
print(json.dumps([seen(), *json.loads(os.fdopen(read).read())]))
"""


def test_variables_for_tasks_reach_the_task_and_not_its_supervisor() -> None:
    name = "AIRFLOW_CLUSTER_TASK_VARIABLES"
    given = {name: '{"PGHOST": "db"}', "HTTPS_PROXY": "http://p"}
    command = [sys.executable, "-c", VARIABLES, str(RUNTIME)]
    environment = {key: value for key, value in os.environ.items() if key != "PGHOST"} | given
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
    supervisor, task, child = json.loads(done.stdout)
    assert supervisor == {"PGHOST": None, **given}
    assert task == {"PGHOST": "db", "HTTPS_PROXY": "http://p", name: None}
    assert child == task | {"PGHOST": "of the task"}


# A task with a handler of SIGTERM that does not end the process. Prints how a forked process ends.
TASK_WITH_HANDLER = """
import multiprocessing, os, signal, sys, time

from airflow_celery_cluster import task_process

def handler(number, frame):
    pass

def end_of_child():
    "Send SIGTERM to a child, which may not have run a line yet, and return how the child ends."
    pid = os.fork()
    if pid == 0:
        while True:
            signal.pause()
    os.kill(pid, signal.SIGTERM)
    for _ in range(100):
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.02)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "goes on"

task_process.prepare_tasks()
task = os.fork()
if task == 0:
    handler.__module__ = sys.argv[1]
    signal.signal(signal.SIGTERM, handler)
    own = sys.argv[1] != task_process.TASK_RUNNER
    print({end_of_child() for _ in range(1 if own else 200)}, flush=True)
    if not own:
        assert signal.pthread_sigmask(signal.SIG_BLOCK, []) == set()
        with multiprocessing.get_context("fork").Pool(2) as pool:
            pool.map(int.bit_length, [1, 2, 4])
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(task, 0)[1]))
"""


@pytest.mark.parametrize(
    ("module", "end"), [("airflow.sdk.execution_time.task_runner", "{-15}"), ("my_dag", "{'goes on'}")]
)
def test_children_do_not_have_the_handler_of_airflow(module: str, end: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TASK_WITH_HANDLER, module],
        env=os.environ | {"PYTHONPATH": str(RUNTIME)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, end), done.stderr
