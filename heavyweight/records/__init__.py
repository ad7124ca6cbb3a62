"""What a row is: every field declared once, with type, unit and meaning.

The two halves of the study meet here and where the rows lie (:mod:`heavyweight.store`,
:mod:`heavyweight.calibrations`) only. Arrow schemas, JSON files and the data dictionary
(data/README.md) are generated from these declarations.

Times of requests are int64 nanoseconds from the cell's origin on the monotonic clock
(``time.perf_counter_ns``, CLOCK_MONOTONIC); ``origin_monotonic_ns + sent_ns`` is
the absolute stamp.
"""

from heavyweight.records.base import (
    SCHEMA_VERSION,
    Machine,
    Record,
    Software,
    measured,
    unit,
    vector_units,
)
from heavyweight.records.columns import (
    IMPORTED_SCHEMA,
    NOT_ALWAYS_TOLD,
    NS,
    REQUEST_COLUMNS,
    REQUEST_SCHEMA,
    SERVER_LOG_COLUMNS,
    SERVER_LOG_SCHEMA,
    TELEMETRY_COLUMNS,
    TELEMETRY_SCHEMA,
    Column,
    ErrorClass,
)
from heavyweight.records.imported import TOOL_NAMES, Imported, Tool, imported_from
from heavyweight.records.instrument import Instrument, Setting
from heavyweight.records.study import (
    Cell,
    ColdStart,
    MachineLoad,
    Probe,
    Run,
    ServerIdentity,
    ServerStart,
    Session,
)
from heavyweight.records.telemetry import (
    CLOCK_REASONS,
    TELEMETRY_QUANTITIES,
    ClockReason,
    Telemetry,
    TelemetryQuantity,
)

__all__ = [
    "CLOCK_REASONS",
    "IMPORTED_SCHEMA",
    "JSON_RECORDS",
    "NOT_ALWAYS_TOLD",
    "NS",
    "REQUEST_COLUMNS",
    "REQUEST_SCHEMA",
    "SCHEMA_VERSION",
    "SERVER_LOG_COLUMNS",
    "SERVER_LOG_SCHEMA",
    "TELEMETRY_COLUMNS",
    "TELEMETRY_QUANTITIES",
    "TELEMETRY_SCHEMA",
    "TOOL_NAMES",
    "Cell",
    "ClockReason",
    "ColdStart",
    "Column",
    "ErrorClass",
    "Imported",
    "Instrument",
    "Machine",
    "MachineLoad",
    "Probe",
    "Record",
    "Run",
    "ServerIdentity",
    "ServerStart",
    "Session",
    "Setting",
    "Software",
    "Telemetry",
    "TelemetryQuantity",
    "Tool",
    "imported_from",
    "measured",
    "unit",
    "vector_units",
]  # fmt: skip

JSON_RECORDS: tuple[type[Record], ...] = (
    Run, Session, Cell, ServerStart, ColdStart, ServerIdentity, MachineLoad, Telemetry, Probe,
    Instrument, Imported,
    Machine, Software,
)  # fmt: skip
