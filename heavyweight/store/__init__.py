"""Where rows lie: write-once run folders, atomic files, scanning.

::

    RUN/run.json                     records.Run
    RUN/study.toml                   the study as it was planned
    RUN/SESSION/session.json         records.Session
    RUN/SESSION/n0050-<id>.parquet   one cell's requests (closed loop, 50 users); its records.Cell
                                     is in the file's metadata
    RUN/SESSION/r0012.5-<id>.parquet the same of an open loop, 12.5 requests/s
    RUN/SESSION/probe-overlap.json   records.Probe, one a question put to the server
    RUN/SESSION/search/r....parquet  cells of a search for the highest rate; none of the study's
    RUN/SESSION/n0050-<id>.telemetry.parquet  what ran meanwhile (heavyweight.recordings)
    RUN/SESSION/server-1.log         one log for each start of the server; server-1.log.gz where the
                                     session is complete
    RUN/SESSION/session-1.ipynb      the executed notebook; one more each time that it goes on
"""

from heavyweight.store.cells import (
    CELL_FILE,
    HIGHEST_RATE,
    PROBE_FILE,
    CellFile,
    cell_file_name,
    frame,
    request_schema,
    write_cell,
    write_probe,
)
from heavyweight.store.files import (
    METADATA_KEY,
    read_json,
    refuse_other_schema,
    replacing,
    write_json,
    write_table,
    write_text,
)
from heavyweight.store.logs import compress_logs
from heavyweight.store.runs import RUN_FILE, SESSION_FILE, RunFolder, SessionFolder

__all__ = [
    "CELL_FILE", "HIGHEST_RATE", "METADATA_KEY", "PROBE_FILE", "RUN_FILE", "SESSION_FILE",
    "CellFile", "RunFolder", "SessionFolder", "cell_file_name", "compress_logs", "frame",
    "read_json", "refuse_other_schema", "replacing", "request_schema", "write_cell", "write_json",
    "write_probe", "write_table", "write_text",
]  # fmt: skip
