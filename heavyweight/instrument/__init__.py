"""The client measured: the real load generator against a server that logs its own times."""

from heavyweight.calibrations import SETTINGS
from heavyweight.instrument.calibrating import calibrate, cells_of
from heavyweight.instrument.notebook import Calibration

__all__ = ["SETTINGS", "Calibration", "calibrate", "cells_of"]
