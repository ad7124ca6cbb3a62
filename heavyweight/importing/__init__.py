"""Result files of other tools -> a run folder of this study, marked as imported.

::

    result file -> told (what the file says, checked) -> loads (rows as here) -> run folder

What a file does not tell is null. Nothing of it is kept but numbers, ids and error messages: no
prompt and no answer.
"""

from heavyweight.importing.reading import read
from heavyweight.importing.told import Load, Row, Told
from heavyweight.importing.writing import Source, write_run

__all__ = ["Load", "Row", "Source", "Told", "read", "write_run"]
