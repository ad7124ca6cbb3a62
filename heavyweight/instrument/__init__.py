"""The client measured: the real load generator against a server that logs its own times."""

from heavyweight.instrument.calibrating import SETTINGS, calibrate, cells_of
from heavyweight.instrument.notebook import Calibration

__all__ = ["SETTINGS", "Calibration", "calibrate", "cells_of"]
