"""One load on one server: measured, judged, and searched for the highest that still holds.

It stands above both halves, as the command does: it measures with :mod:`heavyweight.load` and reads
with :mod:`heavyweight.stats`, :mod:`heavyweight.estimates` and :mod:`heavyweight.validity`.

::

    target      what answers at a URL
    plan        options of the command -> what the load generator is told
    fleet       several load generators, one a worker of Dask; clocks, merge
    result      a cell -> percentiles, checks, the client's own error
    objective   what must hold, and the values of a cell that break it
    search      pure: what was seen so far -> the next load, or the answer
    probing     search with a real server
"""
