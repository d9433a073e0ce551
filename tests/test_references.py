"""No reference is lost, by the count of a debug build of CPython. It says nothing on other builds."""

from __future__ import annotations

import pytest

from support import ON_DEBUG_BUILD, fresh

COUNT = """
import gc
before = sys.gettotalrefcount()
for _ in range(1000):
    setsid._native.ffi.new("struct sid_child *")
if abs(sys.gettotalrefcount() - before) > 500:
    print("SKIP")  # what C code of another build takes and gives back is not in the count
    sys.exit()
def many(number):
    for index in range(number):
        try:
            if index % 2:
                setsid.spawn(["/nonexistent/program"])
            else:
                with setsid.spawn(["/bin/true"]) as process:
                    assert process.wait() == 0
        except FileNotFoundError:
            pass
    gc.collect()
    return sys.gettotalrefcount()
many(500)  # what is kept for the next time
before = many(500)
after = many(10_000)
assert abs(after - before) < 100, after - before  # one lost in each would be thousands
"""


@pytest.mark.skipif(not ON_DEBUG_BUILD, reason="counts references on a debug build of CPython only")
def test_ten_thousand_spawns_of_which_half_fail_lose_no_reference() -> None:
    if "SKIP" in fresh(COUNT, timeout=600).stdout:
        pytest.skip("cffi and the package must be built for a debug build: nox -s leaks")
