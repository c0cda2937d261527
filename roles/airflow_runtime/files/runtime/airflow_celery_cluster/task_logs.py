"""Logs of tasks outlive their worker: each line goes to the log store as soon as it is written.

``[logging] logging_config_class`` names ``LOGGING_CONFIG``, so every process of Airflow imports this module. Where
``[task_logs] socket`` is set, in workers, triggerers and DAG processors, Airflow's writers tell ``REMOTE_TASK_LOG`` of
each line, and ``log_sender`` hands the line to the shipper of the host. The API server finds the lines of all hosts in
its own ``base_log_folder``, in files that begin with the name of the local file, as Airflow's own reader expects it.

With ``remote_logging``, a finished log also goes to the site's object storage, with the provider's own code, and is
read there when the log store no longer has it.
"""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.config_templates import airflow_local_settings
from airflow.configuration import conf
from airflow.utils.log.file_task_handler import FileTaskHandler

from airflow_celery_cluster import identity
from airflow_celery_cluster.log_sender import Sender, in_order

if TYPE_CHECKING:
    from airflow.logging.remote import LogResponse, StreamingLogResponse

# Seconds that the end of a log may take. The task's state is reported before, and its slot is not free yet.
FINISH = 5.0


class LiveTaskLog:
    """Airflow's ``RemoteLogIO``: sends lines as they are written.

    :param archive: the provider's ``RemoteLogIO`` for finished logs, if the site has one.
    """

    def __init__(self, sender: Sender, archive: Any = None) -> None:
        self._sender = sender
        self._archive = archive
        if hasattr(archive, "stream"):
            self.stream = archive.stream

    @property
    def processors(self) -> tuple[Any, ...]:
        """What structlog calls for each line, before the line is written."""
        return (self._note, *(self._archive.processors if self._archive else ()))

    def _note(self, logger: Any, _method: str, event: Any) -> Any:
        # Loggers of the standard library have no file, and those of a task process write to a socket.
        if (file := getattr(logger, "_file", None)) is not None:
            self._sender.note(file)
        return event

    def upload(self, path: os.PathLike[str] | str, ti: Any = None) -> None:
        """The log is complete, at this path below ``base_log_folder``."""
        # A triggerer runs many triggers, and must not wait for one. Its thread sends the rest.
        if ".log.trigger." not in os.fspath(path):
            self._sender.finish(os.fspath(path), FINISH)
        if self._archive:
            self._archive.upload(path, ti)

    def read(self, relative_path: str, ti: Any) -> LogResponse:
        """What the archive has. Airflow reads the files of the store itself."""
        answer: LogResponse = self._archive.read(relative_path, ti) if self._archive else ([], None)
        return answer


class StoredTaskHandler(FileTaskHandler):
    """Reads the logs of all hosts from the files of the log store, and asks no other process for logs.

    The object storage has a log only if its worker lived to the end of the task. So it is read for what the log store
    no longer has.
    """

    def _read_remote_logs(self, ti: Any, try_number: int, metadata: Any = None) -> LogResponse | StreamingLogResponse:
        path = Path(self.local_base, self._render_filename(ti, try_number))
        if any(path.parent.glob(f"{path.name}*")):
            raise NotImplementedError  # as a handler without object storage does
        try:
            answer: LogResponse = super()._read_remote_logs(ti, try_number, metadata)
        except NotImplementedError:
            raise
        except Exception as error:
            # Whatever a provider raises: the page of the task must not fail.
            return [f"the object storage could not be read: {type(error).__name__}: {error}"], []
        return answer

    def _read_from_local(self, worker_log_path: Path) -> StreamingLogResponse:
        sources, streams = super()._read_from_local(worker_log_path)
        return (
            sources or [f"{worker_log_path}*: no line of this log is on {identity.address()}"],
            [in_order(stream) for stream in streams],
        )

    def _read_from_logs_server(self, ti: Any, worker_log_rel_path: str) -> StreamingLogResponse:
        return [], []


LOGGING_CONFIG = copy.deepcopy(airflow_local_settings.DEFAULT_LOGGING_CONFIG)
LOGGING_CONFIG["handlers"]["task"]["class"] = f"{__name__}.{StoredTaskHandler.__name__}"
# Airflow says for each process that it has imported this module, on the standard output, where commands print JSON.
LOGGING_CONFIG["loggers"]["airflow.logging_config"] = {"level": "WARNING"}

REMOTE_TASK_LOG: Any = airflow_local_settings.REMOTE_TASK_LOG
DEFAULT_REMOTE_CONN_ID = airflow_local_settings.DEFAULT_REMOTE_CONN_ID
if shipper := conf.get("task_logs", "socket", fallback=""):
    REMOTE_TASK_LOG = LiveTaskLog(Sender(shipper, conf.get("logging", "base_log_folder")), REMOTE_TASK_LOG)
